#!/usr/bin/env bash
# A triangular spatial weight, shape = lower(T, T') of 1024 positions, width 512, 4 rows, beside the full one: the products of a
# forward and of a training step, one thread. They take turns ROUNDS times; medians are compared. A benchmark, not a test: seconds.
#
#   tests/bench/triangle.sh [ROUNDS]        MIXC=build/mixc
set -euo pipefail
. "$(dirname "$0")/common.sh"
rounds=${1:-$(pick 5 1)}
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
cp tests/bench/triangle.mix "$out/lower.mix"
sed "s/ with shape = lower(T, T')//" tests/bench/triangle.mix >"$out/full.mix"

# Milliseconds of the product kernels of one step, without those of the narrow output layer.
products() { "$mixc" profile "$out/$1.mix" --mode "$2" B=4 -j 1 --steps 9 --json | python3 -c '
import json, sys
print(1e3 * sum(k["seconds"] for k in json.load(sys.stdin)["kernels"] if k["flops"] > 1e9))'; }

for ((round = 0; round < rounds; round++)); do
    for mode in eval train; do
        for form in full lower; do
            products $form $mode >>"$out/$mode.$form"
        done
    done
done
for mode in eval train; do
    full=$(median <"$out/$mode.full")
    lower=$(median <"$out/$mode.lower")
    awk -v m=$mode -v f="$full" -v l="$lower" 'BEGIN {printf "%-6s full %8.2f ms   lower %8.2f ms   %.2f of it\n", m, f, l, l/f}'
done
