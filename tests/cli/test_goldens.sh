# Golden vectors of other implementations through `mixc run --grad` and a weight map: outputs to 1e-5, gradients to 1e-4
# (mixc diff allows gradients ten times its tolerance). Skipped when the vectors are not there.
. "$MIXC_TESTS/cli/lib.sh"
[ -d "$MIXC_SHARED/goldens" ] || { echo "no golden vectors"; exit 77; }

# check NAME [ENTRY [DEVICES]]: goldens/NAME.mix with goldens/NAME.map gives what NAME.safetensors holds.
check() {
    local name=$1 entry=${2-} device golden=$MIXC_SHARED/goldens/$1.safetensors
    for device in ${3:-eval cpu}; do
        expect 0 "$MIXC" run "$here/goldens/$name.mix" ${entry:+--entry "$entry"} --weights "$golden" --inputs "$golden" \
            --map "$here/goldens/$name.map" --out out.st --grad --device $device
        expect 0 "$MIXC" diff out.st "$golden" --tolerance 1e-5
        # Nothing was compared by leaving it out: every output, loss and gradient of theirs is in ours.
        for tensor in $(names "$golden"); do says out "$tensor "; done
    done
}

# The names of the outputs, losses and gradients of a safetensors file.
names() { head -c 100000 "$1" | grep -aoE '"(output|loss|grad)\.[^"]*":' | tr -d '":' | grep -vE "^($absent)$"; }

absent=none
check gmlp_block_causal Gmlp
check sigma_moe SigmaMoE
check switchhead SwitchHead
check switch_ffn_drop Switch
check widenet_block
check moe_top2_all MoE
check fairseq_top1_train MoE
check fairseq_top2_train MoE
check base_layer_balanced Base
check base_layer_greedy Base
check sut_moe_ffn Ffn
check sut_moa_self_attention MoA
check sut_encoder_act
check moeut_lm

name=gmlp_block_causal golden=$MIXC_SHARED/goldens/gmlp_block_causal.safetensors
# Through the model around the layer, with a map of full paths.
sed 's/^Gmlp/Block.Gmlp/' "$here/goldens/$name.map" >full.map
expect 0 "$MIXC" run "$here/goldens/$name.mix" --weights "$golden" --inputs "$golden" --map full.map --out out.st --grad
expect 0 "$MIXC" diff out.st "$golden"

# A wrong weight shows.
sed 's/sgu.norm.weight"\[F\]/sgu.norm.weight"[F] * 1.001/' "$here/goldens/$name.map" >wrong.map
expect 0 "$MIXC" run "$here/goldens/$name.mix" --entry Gmlp --weights "$golden" --inputs "$golden" --map wrong.map --out out.st
expect 5 "$MIXC" diff out.st "$golden"
says out "first divergence: output.y"
finish
