# Golden vectors of other implementations through `mixc run --grad` and a weight map: outputs to 1e-5, gradients to 1e-4
# (mixc diff allows gradients ten times its tolerance). Skipped when the vectors are not there.
. "$MIXC_TESTS/cli/lib.sh"
[ -d "$MIXC_SHARED/goldens" ] || { echo "no golden vectors"; exit 77; }

for device in eval cpu; do
    name=gmlp_block_causal
    golden=$MIXC_SHARED/goldens/$name.safetensors
    expect 0 "$MIXC" run "$here/goldens/$name.mix" --entry Gmlp --weights "$golden" --inputs "$golden" \
        --map "$here/goldens/$name.map" --out out.st --grad --device $device
    expect 0 "$MIXC" diff out.st "$golden" --tolerance 1e-5
    for tensor in output.y grad.input.x grad.param.sgu.weight grad.param.proj_in.0.bias; do says out "$tensor"; done
done

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
