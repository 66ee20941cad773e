# Golden vectors of long convolutions and structured products (see test_goldens.sh), on the evaluator and in kernels.
. "$MIXC_TESTS/cli/lib.sh"
[ -d "$MIXC_SHARED/goldens" ] || { echo "no golden vectors"; exit 77; }

# golden NAME TENSOR [--entry LAYER]: outputs to 1e-5, gradients to 1e-4; TENSOR is among those compared.
golden() {
    name=$1 tensor=$2
    shift 2
    file=$MIXC_SHARED/goldens/$name.safetensors
    map=
    [ -f "$here/goldens/$name.map" ] && map="--map $here/goldens/$name.map"
    for device in eval cpu; do
        expect 0 "$MIXC" run "$here/goldens/$name.mix" "$@" --weights "$file" --inputs "$file" $map --out out.st --grad --device $device
        expect 0 "$MIXC" diff out.st "$file" --tolerance 1e-5
        says out "$tensor"
    done
}

golden longconv_16_circular grad.input.k
golden longconv_48_causal_gated grad.input.pregate
golden monarch_multiply grad.input.w1
golden blockdiag_linear grad.param.weight --entry Blocks
golden hyena_order2 grad.param.filter_fn.implicit_filter.1.freq --entry Hyena
golden m2_sequence_mixer grad.param.filter_fn2.implicit_filter_rev.6.weight --entry Mixer
golden m2_sequence_mixer_causal grad.param.filter_fn.implicit_filter.6.weight --entry Mixer
finish
