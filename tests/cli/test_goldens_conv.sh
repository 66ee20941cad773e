# Golden vectors of long convolutions and structured products (see test_goldens.sh), on the evaluator and in kernels.
. "$MIXC_TESTS/cli/lib.sh"
[ -d "$MIXC_SHARED/goldens" ] || { echo "no golden vectors"; exit 77; }

# golden NAME [--entry LAYER]: outputs to 1e-5, gradients to 1e-4, and every output, loss and gradient of theirs is in ours.
golden() {
    local name=$1 device tensor file=$MIXC_SHARED/goldens/$1.safetensors map=
    shift
    [ -f "$here/goldens/$name.map" ] && map="--map $here/goldens/$name.map"
    for device in eval cpu; do
        expect 0 "$MIXC" run "$here/goldens/$name.mix" "$@" --weights "$file" --inputs "$file" $map --out out.st --grad --device $device
        expect 0 "$MIXC" diff out.st "$file" --tolerance 1e-5
        for tensor in $(results "$file"); do says out "$tensor "; done
    done
}

# The names of the outputs, losses and gradients of a safetensors file.
results() { head -c 100000 "$1" | grep -aoE '"(output|loss|grad)\.[^"]*":' | tr -d '":'; }

golden longconv_16_circular
golden longconv_48_causal_gated
golden monarch_multiply
golden blockdiag_linear --entry Blocks
golden hyena_order2 --entry Hyena
golden m2_sequence_mixer --entry Mixer
golden m2_sequence_mixer_causal --entry Mixer
golden m2bert_mlm
golden hyena_lm
golden h3_lm
finish
