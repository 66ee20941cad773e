# What an expert layer costs besides arithmetic, read from the compiled programs of the routed models: kernels of its forward
# pass, and memory kept for the backward pass.
#
# Kernels: at most 4. Choosing and sorting take two, then there are two products; the sum over choices belongs to what follows.
# Memory: X + H + indices within 2 % - the layer's input, the hidden rows, and what is small. No value holds the tokens once for
# each choice, or in another order, before the experts' results do.
. "$MIXC_TESTS/cli/lib.sh"
models=$MIXC_TESTS/../models

# measure FILE LAYER WIDE HIDDEN MODE [BINDINGS]: sets launches, kept, wanted, copies, choosing, forward, backward
measure() {
    expect 0 "$MIXC" dump "$1" --mode "$5" --after codegen -o dump "${@:6}"
    read -r launches kept wanted copies choosing forward backward < <(awk -v layer="$2" -v wide="$3" -v hidden="$4" -f "$here/expert_layers.awk" dump/*codegen.ir)
}

# kernels MODEL LAYER [BINDINGS]
kernels() {
    measure "$models/$1.mix" "$2" D F eval "${@:3}"
    [ "$launches" -ge 3 ] && [ "$launches" -le 4 ] || complain "$1: $launches kernels forward, not at most 4"
}

# on_gpu MODEL LAYER BINDINGS: a training step on a GPU. Choices, places and the order of rows take two launches, the experts two products
# forward and four backward. Where no GPU can be simulated either, nothing is said.
on_gpu() {
    [ $has_sim = 1 ] || return
    MIXC_DEVICE=sim measure "$models/$1.mix" "$2" D F train "${@:3}"
    [ "$choosing" -ge 1 ] && [ "$choosing" -le 2 ] || complain "$1 on a GPU: $choosing launches that choose and order, not at most 2"
    [ "$forward" = 2 ] && [ "$backward" -ge 4 ] && [ "$backward" -le 6 ] || complain "$1 on a GPU: $forward products forward, $backward backward"
}

# check MODEL LAYER [BINDINGS]
check() {
    kernels "$1" "$2" B=4 "${@:3}"
    measure "$models/$1.mix" "$2" D F train train.batch=4 "${@:3}"
    [ "$wanted" -gt 100000 ] && [ $((kept * 100)) -le $((wanted * 102)) ] || complain "$1: keeps $kept bytes, X + H + indices are $wanted"
    [ "$copies" = 0 ] || complain "$1: $copies values hold a copy of the tokens"
}

has_sim=0
MIXC_DEVICE=sim "$MIXC" dump "$models/switch.mix" --after codegen -o dump >/dev/null 2>&1 && has_sim=1

check switch SwitchLM.l1.Switch
check gshard GShardLM.l1.GShard
check base BaseLM.l0.Base
check hash HashLM.l1.Hash
check smlp SMlp.j0.Tmoe
check smlp_partial SMlp.j0.Tmoe
check sigma_moe SigmaMoELM.l0.SigmaMoE
check moeut MoEUT.g0.Block.SigmaMoE R=1
kernels widenet WideNet.moe L=1
kernels widenet_text WideNetText.Encoder.moe L=1
kernels vmoe VMoE.l1.MoE
kernels vit_moe ViTMoE.l2.MoE

on_gpu switch SwitchLM.l1.Switch train.batch=4
on_gpu gshard GShardLM.l1.GShard train.batch=4
on_gpu base BaseLM.l0.Base train.batch=4
on_gpu hash HashLM.l1.Hash train.batch=4
on_gpu smlp SMlp.j0.Tmoe train.batch=4
on_gpu smlp_partial SMlp.j0.Tmoe train.batch=4
on_gpu sigma_moe SigmaMoELM.l0.SigmaMoE train.batch=4
on_gpu moeut MoEUT.g0.Block.SigmaMoE R=1 train.batch=4
on_gpu widenet WideNet.moe L=1 train.batch=4
on_gpu widenet_text WideNetText.Encoder.moe L=1 train.batch=4
on_gpu vmoe VMoE.l1.MoE train.batch=8
on_gpu vit_moe ViTMoE.l2.MoE train.batch=4

# The plan says so too: hidden rows, scores, choices and weights of 4 x 64 tokens, 16 experts of 32, 4 choices.
expect 0 "$MIXC" plan "$models/sigma_moe.mix" --json train.batch=4
told=$(grep -o '"backward_bytes": [0-9]*' out | head -1 | grep -o '[0-9]*')
sum=$((256*4*32*4 + 256*16*4 + 2*256*4*4))
[ "$told" -ge $sum ] && [ $((told * 100)) -le $((sum * 102)) ] || complain "plan: $told bytes kept, not $sum"

# The update of a matrix is made where the matrix lies: no value of its shape but gradients of a clipped norm would need, and here
# nothing is clipped. (Kernels that would have to wait for each other in a circle cost one copy, of the smallest value.)
expect 0 "$MIXC" dump "$MIXC_TESTS/bench/moe.mix" --size medium --mode train --after codegen -o dump
copies=$(grep -c '^buffer .* temp f32\[E = 64, [DF] = [0-9]*, [DF] = ' dump/*codegen.ir)
[ "$copies" = 0 ] || complain "the step of tests/bench/moe.mix holds $copies copies of the experts' matrices"

# The measure itself: a result that is read again has to be kept, and that shows.
measure "$models/gshard.mix" GShardLM.l1.GShard D F train train.batch=4
without=$kept
sed 's/^    yield relu(t @\[D\] W1) @\[F\] W2/    v = relu(t @[D] W1) @[F] W2\n    yield tanh(v)/' "$models/gshard.mix" >kept.mix
measure kept.mix GShardLM.l1.GShard D F train train.batch=4
[ $((kept * 100)) -gt $((without * 110)) ] || complain "a value kept once more does not show: $kept, and $without without it"
finish
