#!/bin/bash
# Processor time of an expert layer against the share of positions that have halted (tests/bench/halted.mix: 1024 tokens, width
# 512, 64 experts of 128, top 8): milliseconds of a forward and of a training step on one thread, by the time that the process
# was charged, so that a busy machine matters little.
#   tests/bench/halted.sh [STEPS]
set -eu
. "$(dirname "$0")/common.sh"
here=tests/bench
steps=${1:-$(pick 20 1)}
TIMEFORMAT=%U

charged() { { time "$mixc" profile "$here/halted.mix" -j 1 "$@" > /dev/null 2>&1; } 2>&1; }

for mode in eval train; do
    for share in $(pick '0 0.25 0.5 0.75 1' 0.5); do
        charged --mode $mode share=$share --steps 1 > /dev/null     # compiles
        few=$(charged --mode $mode share=$share --steps 2)
        many=$(charged --mode $mode share=$share --steps $((steps + 2)))
        awk -v mode=$mode -v share=$share -v few="$few" -v many="$many" -v steps="$steps" \
            'BEGIN { printf "%-6s %4.2f halted  %7.2f ms\n", mode, share, (many - few) / steps * 1000 }'
    done
done
