# The routed language models of models/, from the command line: every published size is checked and shown, the tiny one trains a few
# steps, goes on where it stopped and writes text; what is claimed to be causal is proved, and a model that leaks is
# refused where its claim does not say so.
. "$MIXC_TESTS/cli/lib.sh"
models=$MIXC_TESTS/../models
for i in $(seq 80); do echo "to be or not to be, that is question number $i"; done >text.txt

for m in switch gshard base hash smlp smlp_partial sigma_moe switchhead moeut moeut_dense; do
    file=$models/$m.mix
    expect 0 "$MIXC" fmt --check "$file"
    for size in $(sed -nE 's/^size ([A-Za-z0-9_]+).*/\1/p' "$file"); do
        expect 0 "$MIXC" check "$file" --size "$size"
        says_not err error
    done
    expect 0 "$MIXC" plan "$file" --mode generate B=1 --json
    says out '"peak_bytes"'

    # Two models on the cpu, where four steps at once are two steps and then two more: the same bytes. The others on the
    # evaluator, which compiles nothing.
    case $m in switch|smlp_partial) device=cpu steps=4 ;; *) device=eval steps=2 ;; esac
    run() { expect 0 "$MIXC" train "$file" --size tiny --data text.txt --device $device --progress json T=14 train.batch=2 train.save=2 "$@"; }
    run --steps $steps --out "$m"
    if [ $device = cpu ]; then
        run --steps 2 --out parts -f
        run --steps 4 --out parts --resume
        cmp -s "$m/step-000000004.safetensors" parts/step-000000004.safetensors || complain "$m: resumed to other weights"
    fi
    expect 0 "$MIXC" generate "$m" --device $device -p "to be or not" -n 4
    [ "$(wc -c <out)" -ge 4 ] || complain "$m: wrote nothing"
done

# refused MODEL SED TEXT: the model changed by SED is not causal, and the message has TEXT.
refused() {
    sed -E "$2" "$models/$1.mix" >leak.mix
    cmp -s leak.mix "$models/$1.mix" && complain "$1: nothing was changed by $2"
    expect 1 "$MIXC" check leak.mix
    says err E0412
    says err "$3"
}
refused smlp_partial "s/causal over T after P/causal over T/" Smoe
refused smlp_partial "s/mean\(c\[T = 0..P -> P\], over=S\) @\[P\] Wr/mean(c, over=S) @[T] Wr/; s/Wr\[E,P\]/Wr[E,T]/" Smoe
refused smlp "s/with shape = lower\(T, T'\)//" "sums over"
refused smlp "s/ allow leak in train//" Tmoe
refused base "s/ allow leak in train//" Base
refused base "s/, greedy in eval//" "a later position"
refused gshard "s/ allow leak in train//" GShard
refused gshard "s/, dropless in eval//" GShard
refused switch "s/priority token/priority score/" Switch
refused moeut "s/keep=index\(T'\) <= index\(T\)/keep=index(T') <= index(T) + 1/" SwitchHead
refused sigma_moe "s/keep=index\(T'\) <= index\(T\)/keep=index(T') >= 0*index(T)/" Attn
finish
