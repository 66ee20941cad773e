#!/bin/bash
# A training step of a thousand layers as a program: at least 60,000 nodes, at most 40 kernels, as many as two thousand layers have, and
# a memory plan that wastes nothing. How long it takes is measured by tests/bench/compile.sh, on an idle machine.
set -u
tests=${MIXC_TESTS:-$(cd "$(dirname "$0")/.." && pwd)}
mixc=${MIXC:-$tests/../build/mixc}
[ -x "$mixc" ] || { echo "no mixc at $mixc"; exit 77; }
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
number() { sed -n "s/.*\"$1\": \([0-9]*\).*/\1/p" "$2" | head -1; }
bad=0
check() { [ "$1" "$2" "$3" ] || { echo "$4: $1, not $2 $3"; bad=1; }; }
for layers in 1000 2000; do
    "$mixc" plan "$tests/bench/deep.mix" L=$layers --mode train --device cpu --json >"$out/$layers" || { echo "no plan of $layers layers"; exit 1; }
done
"$mixc" dump "$tests/bench/deep.mix" L=1000 --mode train --device cpu --after fuse_loops -o "$out/ir" >/dev/null || bad=1
check "$(cat "$out"/ir/*.ir | grep -c ' = ')" -ge 60000 "nodes of 1000 layers"
check "$(number launches "$out/1000")" -ge 10000 "launches of 1000 layers"
check "$(number kernels "$out/1000")" -le 40 "kernels of 1000 layers"
check "$(number kernels "$out/2000")" -eq "$(number kernels "$out/1000")" "kernels of 2000 layers"
for layers in 1000 2000; do
    least=$(number lower_bound_bytes "$out/$layers")
    check "$(number peak_bytes "$out/$layers")" -le $((least + least / 500)) "bytes of $layers layers"
done
exit $bad
