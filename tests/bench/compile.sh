#!/usr/bin/env bash
# How long it takes from text to a running training step: `check`, cold compile, warm start, and the growth with depth; how good
# memory plans are, and how long they take. Prints tables; it is a benchmark, not a test.
#
#   tests/bench/compile.sh       MIXC=build/mixc  TESTS=build/tests: the programs of the tests
set -euo pipefail
cd "$(dirname "$0")/../.."
mixc=$(realpath "${MIXC:-build/mixc}")
tests=$(realpath "${TESTS:-$(dirname "$mixc")/tests}")
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

# A thousand layers and two thousand, in turns; the aims are 1000 ms, 2.2 times and 40 kernels.
deep=tests/bench/deep.mix
field() { sed -n "s/.*\"$1\": \([0-9]*\).*/\1/p" "$2" | head -1; }
for layers in 1000 2000; do
    "$mixc" plan $deep L=$layers --mode train --json >"$out/plan.$layers" 2>/dev/null
    "$mixc" dump $deep L=$layers --mode train --after fuse_loops -o "$out/ir.$layers" >/dev/null 2>&1
    best[layers]=999999
done
for round in 1 2 3 4 5; do
    for layers in 1000 2000; do
        now=$(ms "$mixc" plan $deep L=$layers --mode train)
        [ "$now" -lt "${best[layers]}" ] && best[layers]=$now
    done
done
for layers in 1000 2000; do
    echo "| text to program, $layers layers: $(cat "$out/ir.$layers"/*.ir | grep -c ' = ') nodes, $(field launches "$out/plan.$layers") launches of" \
         "$(field kernels "$out/plan.$layers") kernels, plan $(awk "BEGIN { printf \"%.2f\", 100*($(field peak_bytes "$out/plan.$layers")/$(field lower_bound_bytes "$out/plan.$layers") - 1) }") %" \
         "above the largest live set | ${best[layers]} |"
done
echo "| twice the nodes: times | $(awk "BEGIN { printf \"%.2f\", ${best[2000]}/${best[1000]} }") |"
if [ -x "$tests/test_plan_memory" ]; then
    "$tests/test_plan_memory" 2>&1 | sed -n 's/^\(.*pieces\|.*buffers\): \(.*\), \(.*\) s$/| memory plan, \1: \2 (seconds) | \3 |/p'
fi
echo "| memory plans of all models, trained and run, at all sizes | $(MIXC_ALL_SIZES=1 MIXC_TESTS=tests MIXC=$mixc bash tests/cli/test_plan_zoo.sh | tail -1) |"
export XDG_CACHE_HOME=$out/cache
for round in cold warm; do
    "$mixc" train "${gpt[@]}" L=6 --data "$out/text" --steps 1 --out "$out/$round" --progress plain >"$out/log" 2>&1
    echo "| $round start, 6 layers: $(grep -o 'compiled in.*\|loaded in.*\|from the cache.*' "$out/log" | head -1) | |"
done
