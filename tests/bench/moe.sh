#!/usr/bin/env bash
# Routed feed-forward layers of 1024 tokens (width 512), forward and training step, beside every formulation in PyTorch: 8
# experts of 2048 top 2, 64 of 128 top 8, 256 of 128 top 8; then in bf16, and with 16 to 1024 experts at equal work. Every formulation
# is tried once; then the best take turns with mixc ROUNDS times, and medians are compared. Prints tables, in less than five minutes
# on two cores; it is a benchmark, not a test.
#
#   tests/bench/moe.sh [ROUNDS]        PYTHON=python3 with torch; MIXC=build/mixc
set -euo pipefail
. "$(dirname "$0")/common.sh"
need_torch
exec "$python" tests/bench/moe_table.py --mixc "$mixc" --rounds "${1:-$(pick 2 1)}" ${quick:+--quick}
