#!/bin/bash
# An index that a model computes and that is too large for its axis: training stops after the step that met it, names the axis, the
# number and the model's line, and leaves what was saved; on the CPU and on the evaluator alike. Where no index is too large, nothing is said.
set -u
tests=${MIXC_TESTS:-$(cd "$(dirname "$0")/.." && pwd)}
mixc=$(realpath "${MIXC:-$tests/../build/mixc}")
[ -x "$mixc" ] || { echo "no mixc at $mixc"; exit 77; }
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
cd "$out" || exit 1
cat >pairs.mix <<'M'
mix 1
axis B : batch in 1..64, T : time = 8, V = 256, D = 8
model Pairs(tokens: int[B,T]) -> logits: [B,T,V] causal over T {
  param w[V,D] = normal(0.1), out[D,V]
  x = w[V = 2*tokens]
  logits = x @[D] out
}
data text { source = "text.txt"  tokens = bytes  windows = next(T) }
train Pairs on text {
  loss = cross_entropy(logits, targets, over=V)
  optimizer = adam(lr=1e-3)
  schedule = constant(steps=3)
  batch = 4
}
M
bad=0
fail() { echo "$*"; bad=1; }
for device in cpu eval; do
    yes 'plain text, all of it below 128' | head -40 >text.txt
    "$mixc" train pairs.mix --device $device --out good.$device --progress plain >log 2>&1 || { fail "$device: sound numbers"; cat log; }
    grep -q 'looked up' log && fail "$device: sound numbers are complained about"
    yes 'bytes above: ÿ' | head -40 >text.txt
    "$mixc" train pairs.mix --device $device --out bad.$device --progress plain >log 2>&1 && fail "$device: a wrong index is taken"
    said='step 1: pairs.mix:5: position 390 of axis `V` was looked up, but it has the positions 0 to 255'
    [ $device = eval ] && said='index 3[89][02] is outside the axis V, which has size 256'         # it stops at the first
    grep -q "$said" log || { fail "$device: not told"; cat log; }
done
"$mixc" dump pairs.mix --mode train --after train_step -o ir >/dev/null 2>&1 || fail "no dump"
grep -q 'fault "V.256.0"' ir/*step*.ir || fail "the step has no such output"
exit $bad
