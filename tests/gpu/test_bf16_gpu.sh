#!/usr/bin/env bash
# In bf16 a GPT's attention is for tensor cores, forward and backward, each in one launch: its row sums come from the result and its
# gradient, so that no gradient waits for another. Skipped where there is no simulator.
set -u
tests=${MIXC_TESTS:-$(cd "$(dirname "$0")/.." && pwd)}
mixc=${MIXC:-$tests/../build/mixc}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
if ! "$mixc" emit "$tests/../models/gpt.mix" --dtype bf16 --device sim --target cuda -o "$work/gpt.cu" 2> "$work/err"; then
    grep -q -i nvrtc "$work/err" && { cat "$work/err"; exit 77; }
    cat "$work/err"
    exit 1
fi
calls=$(grep -c '^ *mma_dot_s(' "$work/gpt.cu")
waits=$(grep -c 'what sums over rows' "$work/gpt.cu")
# forward: scores; backward by rows and by columns: scores and the weights' gradients
if [ "$calls" -ne 5 ] || [ "$waits" -ne 0 ]; then
    echo "attention has $calls products on tensor cores, not 5, and $waits launches that wait for another"
    exit 1
fi
