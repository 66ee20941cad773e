#!/bin/bash
# run.sh goes on where it stopped, says what it runs on, and writes its table: all phases but one are marked as done.
set -u
tests=${MIXC_TESTS:-$(cd "$(dirname "$0")/.." && pwd)}
mixc=${MIXC:-$tests/../build/mixc}
build=$(dirname "$mixc")
[ -x "$build/tests/test_sim" ] && [ -x "$build/tests/test_zoo_gpu" ] || { echo "no built tree at $build"; exit 77; }
work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT
export MIXC_GPU_STATE=$work/state MIXC_LIBCUDA=/nowhere/libcuda.so MIXC_CACHE_DIR=$work/cache
mkdir -m 700 "$MIXC_CACHE_DIR"
bad=0
complain() { echo "FAIL: $*"; bad=1; }
mkdir "$work/state"
for name in products gpt peers steps $(grep -v '^#' "$tests/gpu/zoo.txt" | grep -oE '[a-z0-9_]+\.mix' | sort -u | sed 's/^/zoo_/'); do
    echo "| $name | done |" > "$work/state/$name.txt"
    echo 0 > "$work/state/$name.code"
done

# No time: nothing is run, and it says how to go on.
MIXC_GPU_SECONDS=1 bash "$tests/gpu/run.sh" -o "$work/table.md" "$build" > "$work/out" 2>&1
[ $? = 75 ] || complain "a run that was cut off has another exit code"
grep -q "no time left for conformance and what follows: run it again to go on" "$work/out" || complain "it does not say how to go on"
[ -f "$work/state/conformance.code" ] && complain "it ran what there was no time for"

bash "$tests/gpu/run.sh" -o "$work/table.md" "$build" > "$work/out" 2>&1 || complain "exit code $?"
grep -q "the same cases run in the simulator at small sizes" "$work/out" || complain "it does not say that there is no GPU"
grep -q "^conformance: exit code 0" "$work/out" || complain "the conformance kernels did not run"
grep -q "^done before: steps" "$work/out" || complain "it does again what was done"
grep -q "^# no GPU: the simulator" "$work/table.md" || complain "the table does not name the device"
grep -q "^| products | done |" "$work/table.md" || complain "the table lacks what was done before"
bash "$tests/gpu/run.sh" -o "$work/table.md" "$build" | grep -q "^done before: conformance" || complain "a second run does it again"
[ $bad = 0 ] || cat "$work/out"
exit $bad
