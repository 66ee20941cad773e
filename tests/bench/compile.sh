#!/usr/bin/env bash
# How long it takes from text to a running training step: `check`, cold compile, warm start, and the growth with depth.
# Prints a table; it is a benchmark, not a test.
#
#   tests/bench/compile.sh       MIXC=build/mixc
set -euo pipefail
cd "$(dirname "$0")/../.."
mixc=$(realpath "${MIXC:-build/mixc}")
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
head -c 100000 /dev/urandom | od -An -v -tx1 >"$out/text"

ms() {                                      # ms COMMAND..: least of three, in milliseconds
    local best=999999 begin end i
    for i in 1 2 3; do
        begin=$(date +%s%N)
        "$@" >/dev/null 2>&1
        end=$(date +%s%N)
        [ $(((end - begin) / 1000000)) -lt $best ] && best=$(((end - begin) / 1000000))
    done
    echo $best
}

echo "| what | milliseconds |"
echo "|---|---|"
for model in models/*.mix; do
    echo "| check $(basename "$model") | $(ms "$mixc" check "$model") |"
done
gpt=(models/gpt.mix D=384 H=6 N=256 train.batch=16 train.eval=1000000)
for layers in 6 60 600; do
    echo "| plan (front end, passes, kernels, memory) of a training step, $layers layers | $(ms "$mixc" plan "${gpt[@]}" L=$layers --mode train) |"
done
export XDG_CACHE_HOME=$out/cache
for round in cold warm; do
    "$mixc" train "${gpt[@]}" L=6 --data "$out/text" --steps 1 --out "$out/$round" --progress plain >"$out/log" 2>&1
    echo "| $round start, 6 layers: $(grep -o 'compiled in.*\|loaded in.*\|from the cache.*' "$out/log" | head -1) | |"
done
