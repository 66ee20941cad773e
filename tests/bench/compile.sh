#!/usr/bin/env bash
# How long it takes from text to a running training step: `check`, cold compile, warm start, and the growth with depth; how good
# memory plans are, and how long they take. Prints tables; it is a benchmark, not a test.
#
#   tests/bench/compile.sh       MIXC=build/mixc  TESTS=build/tests: the programs of the tests
set -euo pipefail
. "$(dirname "$0")/common.sh"
tests=$(realpath "${TESTS:-$build/tests}")
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
head -c 100000 /dev/urandom | od -An -v -tx1 >"$out/text"

ms() {                                      # ms COMMAND..: least of three, in milliseconds
    local best=999999 begin end i
    for i in $(pick '1 2 3' 1); do
        begin=$(date +%s%N)
        "$@" >/dev/null 2>&1
        end=$(date +%s%N)
        [ $(((end - begin) / 1000000)) -lt $best ] && best=$(((end - begin) / 1000000))
    done
    echo $best
}

echo "| what | milliseconds |"
echo "|---|---|"
for model in $(pick 'models/*.mix' models/gpt.mix); do
    echo "| check $(basename "$model") | $(ms "$mixc" check "$model") |"
done
gpt=(models/gpt.mix D=$(pick 384 64) H=$(pick 6 2) N=$(pick 256 32) train.batch=$(pick 16 2) train.eval=1000000)
for layers in $(pick '6 60 600' 2); do
    echo "| plan (front end, passes, kernels, memory) of a training step, $layers layers | $(ms "$mixc" plan "${gpt[@]}" L=$layers --mode train) |"
done

# A thousand layers and two thousand, in turns; the aims are 1000 ms, 2.2 times and 40 kernels.
deep=tests/bench/deep.mix
field() { sed -n "s/.*\"$1\": \([0-9]*\).*/\1/p" "$2" | head -1; }
few=$(pick 1000 10) many=$(pick 2000 20)
for layers in $few $many; do
    "$mixc" plan $deep L=$layers --mode train --json >"$out/plan.$layers" 2>/dev/null
    "$mixc" dump $deep L=$layers --mode train --after fuse_loops -o "$out/ir.$layers" >/dev/null 2>&1
    best[layers]=999999
done
for round in $(pick '1 2 3 4 5' 1); do
    for layers in $few $many; do
        now=$(ms "$mixc" plan $deep L=$layers --mode train)
        [ "$now" -lt "${best[layers]}" ] && best[layers]=$now
    done
done
for layers in $few $many; do
    echo "| text to program, $layers layers: $(cat "$out/ir.$layers"/*.ir | grep -c ' = ') nodes, $(field launches "$out/plan.$layers") launches of" \
         "$(field kernels "$out/plan.$layers") kernels, plan $(awk "BEGIN { printf \"%.2f\", 100*($(field peak_bytes "$out/plan.$layers")/$(field lower_bound_bytes "$out/plan.$layers") - 1) }") %" \
         "above the largest live set | ${best[layers]} |"
done
echo "| twice the nodes: times | $(awk "BEGIN { printf \"%.2f\", ${best[many]}/${best[few]} }") |"
if [ -z "$quick" ] && [ -x "$tests/test_plan_memory" ]; then
    "$tests/test_plan_memory" 2>&1 | sed -n 's/^\(.*pieces\|.*buffers\): \(.*\), \(.*\) s$/| memory plan, \1: \2 (seconds) | \3 |/p'
fi
[ -n "$quick" ] || echo "| memory plans of all models, trained and run, at all sizes | $(MIXC_ALL_SIZES=1 MIXC_TESTS=tests MIXC=$mixc bash tests/cli/test_plan_zoo.sh | tail -1) |"
export XDG_CACHE_HOME=$out/cache
for round in cold warm; do
    "$mixc" train "${gpt[@]}" L=$(pick 6 1) --data "$out/text" --steps 1 --out "$out/$round" --progress plain >"$out/log" 2>&1
    echo "| $round start, 6 layers: $(grep -o 'compiled in.*\|loaded in.*\|from the cache.*' "$out/log" | head -1) | |"
done
