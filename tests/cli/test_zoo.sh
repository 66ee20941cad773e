#!/bin/bash
# Every model of the project, and two that hold every function of the language, train three steps of a tiny size on the cpu
# and on the reference evaluator, in double precision. Losses and gradient norms agree to 1e-4: forward pass, gradients, optimiser and data are the same.
set -u
tests=${MIXC_TESTS:-$(cd "$(dirname "$0")/.." && pwd)}
mixc=${MIXC:-$tests/../build/mixc}
shared=${MIXC_SHARED:-$tests/../../shared}
[ -x "$mixc" ] || { echo "no mixc at $mixc"; exit 77; }
work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT
for i in $(seq 60); do echo "to be or not to be, that is question number $i"; done > "$work/text.txt"
bad=0 n=0

numbers() {   # MODEL DEVICE DATA BINDINGS..
    local model=$1 device=$2 data=$3 file=$tests/../models/$1.mix
    shift 3
    [ -f "$file" ] || file=$tests/cli/$model.mix
    "$mixc" train "$file" "$@" --device "$device" --data "$data" --steps 3 \
        --out "$work/$model.$device" --progress json 2> "$work/err" | grep -oE '"(loss|grad_norm)": [0-9.e+-]+' | grep -oE '[0-9.e+-]+$'
}

compare() {
    local model=$1
    numbers "$model" cpu "${@:2}" > "$work/cpu" ; cat "$work/err" > "$work/err.cpu"
    numbers "$model" eval "${@:2}" > "$work/eval"
    local lines
    lines=$(wc -l < "$work/cpu")
    if [ "$lines" -lt 6 ]; then
        echo "$model: only $lines numbers"; cat "$work/err.cpu" "$work/err"; bad=1
    elif ! paste "$work/cpu" "$work/eval" | awk 'NF != 2 { exit 1 } { d = $1 - $2; if (d < 0) d = -d; if (d > 1e-4*$2) exit 1 }'; then
        echo "$model: cpu and reference differ"; paste "$work/cpu" "$work/eval"; bad=1
    fi
    n=$((n + 1))
}

compare h3 "$work/text.txt" T=16 L=2 D=16 train.batch=2
compare m2bert "$work/text.txt" N=16 L=1 R=4 train.batch=2
compare flashfftconv "$work/text.txt" T=16 K=8 L=1 train.batch=2
if [ -f "$shared/data/digits-train-images.idx3-ubyte" ]; then
    compare hyena_vit "$shared/data" train.batch=3 D=16 drop_path=0.5
    compare m2_vit "$shared/data" train.batch=3 D=16 drop_path=0.5
    compare vit_monarch "$shared/data" train.batch=3 L=1 D=16
    compare resnet152 "$shared/data" train.batch=8 W=4 train.lr=0.01
fi
compare gpt "$work/text.txt" T=8 train.batch=2
compare gmlp_lm "$work/text.txt" T=8 train.batch=2
compare bert "$work/text.txt" T=16 A=4 train.batch=2
compare hyena "$work/text.txt" T=16 train.batch=2
compare m2gpt "$work/text.txt" T=16 L=1 train.batch=2
compare ut "$work/text.txt" T=8 train.batch=2
compare sut "$work/text.txt" T=8 train.batch=2
compare albert "$work/text.txt" T=16 A=4 train.batch=2
compare widenet_text "$work/text.txt" T=16 A=4 train.batch=2
for model in switch gshard base hash smlp moeut moeut_dense sigma_moe switchhead; do
    compare $model "$work/text.txt" T=8 train.batch=2
done
compare smlp_partial "$work/text.txt" T=16 train.batch=2
compare structured "$work/text.txt"
compare looks "$work/text.txt" T=7
compare functions "$work/text.txt" T=7
if [ -f "$shared/data/digits-train-images.idx3-ubyte" ]; then
    compare vmoe "$shared/data" train.batch=8
    for model in vit vit_moe widenet gmlp mlp_mixer convmixer; do
        compare "$model" "$shared/data" train.batch=3
    done
fi
echo "$n models compared"
exit $bad
