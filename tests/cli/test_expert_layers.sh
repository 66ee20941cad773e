# What an expert layer costs besides arithmetic, read from the compiled programs of the routed models: kernels of its forward
# pass, and memory kept for the backward pass.
#
# Kernels: the aim is 4 (choosing and sorting in two, two products; the sum over choices belongs to what follows). The numbers
# below are what each model takes today: they may only fall.
# Memory: X + H + indices within 2 % - the layer's input, the hidden rows, and what is small. No value holds the tokens once for
# each choice, or in another order, before the experts' results do.
. "$MIXC_TESTS/cli/lib.sh"
models=$MIXC_TESTS/../models

# measure FILE LAYER WIDE HIDDEN MODE [BINDINGS]: sets launches, kept, wanted, copies
measure() {
    expect 0 "$MIXC" dump "$1" --mode "$5" --after codegen -o dump "${@:6}"
    read -r launches kept wanted copies < <(awk -v layer="$2" -v wide="$3" -v hidden="$4" -f "$here/expert_layers.awk" dump/*codegen.ir)
}

# check MODEL LAYER KERNELS [BINDINGS]
check() {
    local file=$models/$1.mix
    measure "$file" "$2" D F eval B=4 "${@:4}"
    [ "$launches" -gt 3 ] && [ "$launches" -le "$3" ] || complain "$1: $launches kernels forward, not at most $3"
    echo "$1: $launches kernels forward (aim: 4)"
    measure "$file" "$2" D F train train.batch=4 "${@:4}"
    [ "$wanted" -gt 100000 ] && [ $((kept * 100)) -le $((wanted * 102)) ] || complain "$1: keeps $kept bytes, X + H + indices are $wanted"
    [ "$copies" = 0 ] || complain "$1: $copies values hold a copy of the tokens"
}

check switch SwitchLM.l1.Switch 9
check gshard GShardLM.l1.GShard 8
check base BaseLM.l0.Base 7
check hash HashLM.l1.Hash 4
check smlp SMlp.j0.Tmoe 7
check smlp_partial SMlp.j0.Tmoe 7
check sigma_moe SigmaMoELM.l0.SigmaMoE 6
check moeut MoEUT.g0.Block.SigmaMoE 5 R=1

# The measure itself: a result that a penalty reads again has to be kept, and that shows.
sed 's/^    yield relu(t @\[D\] W1) @\[F\] W2/    v = relu(t @[D] W1) @[F] W2\n    yield tanh(v)/' "$models/switch.mix" >kept.mix
measure kept.mix SwitchLM.l1.Switch D F train train.batch=4
[ $((kept * 100)) -gt $((wanted * 110)) ] || complain "a value kept once more does not show: $kept of $wanted"
finish
