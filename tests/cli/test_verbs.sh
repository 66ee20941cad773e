# Every verb but run, train, eval and generate: exit codes, messages, files.
. "$MIXC_TESTS/cli/lib.sh"
model=$here/tiny.mix

# help, usage, nearest matches
expect 2 "$MIXC"; says out "Verbs"
expect 0 "$MIXC" --help; says out "train"
for verb in $("$MIXC" help | sed -n '/^Verbs/,/^$/s/^  \([a-z]*\) .*/\1/p'); do
    expect 0 "$MIXC" $verb --help; [ $verb = help ] || { says out "Examples"; says out "mixc $verb"; }
done
expect 0 "$MIXC" help plan; says out "mixc plan"
expect 0 "$MIXC" --version; says out "mixc 0"
expect 2 "$MIXC" tran; says err 'did you mean `train`?'; empty out
expect 2 "$MIXC" train --steeps 3; says err "did you mean --steps?"
expect 2 "$MIXC" check; says err "FILE is missing"
expect 2 "$MIXC" check a.mix b.mix; says err "second one"
expect 2 "$MIXC" show "$model" --mode traim; says err "train, eval or generate"
expect 2 "$MIXC" show "$model" --threads x; says err "whole number"
expect 2 "$MIXC" show "$model" DD=8; says err 'did you mean `D`?'
expect 0 "$MIXC" show "$model" --json D=32 D=8; says out '"sizes": [28, 8]'       # the later one counts
expect 2 "$MIXC" show "$model" batch=3; says err 'did you mean `train.batch`?'
expect 2 "$MIXC" profile "$model" train.epochs=3; says err "section train has steps eval"
expect 3 "$MIXC" plan "$model" --device gpu9; says err "no device"
expect 6 "$MIXC" check missing.mix; says err "missing.mix: No such file"
cp "$model" near.mix; expect 6 "$MIXC" check naer.mix; says err "did you mean near.mix?"; expect 6 "$MIXC" show naer.mix; says err "near.mix?"
expect 2 "$MIXC" bench near.mix -o b.xls; says err ".md, .csv, .json or .sql"

# the graphs of generation
gpt=$MIXC_TESTS/../models/gpt.mix
expect 0 "$MIXC" plan "$gpt" --graph next; says out "memory of next"; says out "cache/GPT.l0.Attn.k"
expect 0 "$MIXC" dump "$gpt" --graph next --after incremental -o steps; says "$(echo steps/*incremental*)" "graph @next"
expect 2 "$MIXC" plan "$gpt" --graph next --mode train; says err "--graph"
expect 1 "$MIXC" plan "$gpt" --graph block; says err 'no graph `block`'

# check
expect 0 "$MIXC" check "$model"; empty out; empty err
expect 0 "$MIXC" check --json "$model"; says out "[]"
sed 's/wte\[V,D\]/wte[V,DD]/' "$model" >bad.mix
expect 1 "$MIXC" check bad.mix; empty out; says err "bad.mix:14:"; says err "error[E"; says_not err $'\033'
expect 1 "$MIXC" check --json bad.mix; says out '"code"'; empty err
expect 1 "$MIXC" check --color always bad.mix; says err $'\033'
sed "s/with shape = lower(T, T')//" "$model" >leak.mix
expect 1 "$MIXC" check leak.mix; says err "E0412"
expect 0 "$MIXC" "$model"; says out "parameters:"
expect 0 "$MIXC" "$model" --json; [ "$(head -c 15 out)" = '{"parameters": ' ] || complain "mixc FILE --json is not one document"

# fmt
expect 0 "$MIXC" fmt --check "$here/goldens/gmlp_block_causal.mix"
sed 's/  x = wte/      x   =   wte/' "$model" >ugly.mix; cp ugly.mix before.mix
expect 1 "$MIXC" fmt --check ugly.mix; says out ugly.mix; cmp -s ugly.mix before.mix || complain "fmt --check wrote"
expect 0 "$MIXC" fmt ugly.mix
expect 0 "$MIXC" fmt --check ugly.mix; empty out
"$MIXC" fmt - <before.mix >piped.mix; cmp -s piped.mix ugly.mix || complain "fmt - differs from fmt FILE"

# show
expect 0 "$MIXC" show "$model"; says out "Tiny.wte"; says out "2 x"
expect 0 "$MIXC" show "$model" --json; says out '{"name": "Tiny.wte", "axes": ["V", "D"], "sizes": [28, 16]}'
expect 0 "$MIXC" show "$model" --json D=8; says out '"sizes": [28, 8]'

# plan
expect 0 "$MIXC" plan "$model" --json; says out '"peak_bytes"'; says out '"lower_bound_bytes"'; says out '"routes"'
expect 0 "$MIXC" plan "$model" --mode eval
grep -q ' temp .*launches .*Tiny\..*tiny.mix:[0-9]' out || complain "plan does not say which line makes what is kept"
expect 4 "$MIXC" plan "$model" --max-mem 1K; says err "budget"

# dump, opt
expect 0 "$MIXC" dump "$model" --after all -o ir
n=$(ls ir | wc -l); [ -f "ir/01-causal.ir" ] || complain "no 01-causal.ir"
ls ir | grep -q -- "-codegen.ir" || complain "no codegen.ir"
expect 0 "$MIXC" dump "$model" --mode eval --after cse -o one; [ "$(ls one)" = 03-cse.ir ] || complain "one file was asked for: $(ls one)"
for file in ir/*.ir; do
    expect 0 "$MIXC" opt "$file" -o again.ir
    cmp -s "$file" again.ir || complain "$file does not read back"
done
# what a pass makes of the text before it is the text after it: opt takes up the work at any stage
expect 0 "$MIXC" dump "$model" --after build -o ir
before=
for file in ir/*.ir; do
    pass=${file#ir/*-}; pass=${pass%.ir}
    [ $pass = codegen ] && continue
    [ -n "$before" ] && { expect 0 "$MIXC" opt --passes $pass "$before" -o next.ir
                          cmp -s "$file" next.ir || complain "opt --passes $pass makes something else of $before"; }
    before=$file
done
says ir/00-build.ir "want step"; says ir/00-build.ir "param \"Tiny.wte\""
expect 0 "$MIXC" opt --passes fold,cse ir/01-causal.ir -o - ; says out "graph @"
expect 2 "$MIXC" opt --passes fold,csee ir/01-causal.ir -o x.ir; says err 'did you mean `cse`?'
expect 2 "$MIXC" dump "$model" --after foldd -o ir; says err 'did you mean `fold`?'
sed 's/f32\[B,T,D\]/f32[B,T,F]/' ir/01-causal.ir >wrong.ir
expect 1 "$MIXC" opt wrong.ir -o x.ir; says err "wrong.ir:"; [ ! -e x.ir ] || complain "opt wrote after an error"

# emit: the C text compiles alone, without a warning
expect 0 "$MIXC" emit "$model" --target c -o k.c
expect 0 "$MIXC" emit "$model" --target c -o k2.c; cmp -s k.c k2.c || complain "emit is not deterministic"
expect 0 cc -std=c17 -Wall -Wextra -Werror -O0 -c k.c -o k.o
expect 0 "$MIXC" emit "$model" --mode eval --target cuda -o k.cu; says k.cu "__global__"; grep -q '^// .*mix:[0-9]' k.cu || complain "the kernels do not say where they come from"
expect 2 "$MIXC" emit "$model" --target rust -o k.rs; says err "c or cuda"

# profile
expect 0 "$MIXC" profile "$model" --steps 1 -o trace.json; says out "one step"; says out "tiny.mix:"; says out "  Tiny.l*"; says trace.json '"traceEvents"'
expect 0 "$MIXC" profile "$model" --mode eval --steps 1 --json; says out '"kernels"'
expect 2 "$MIXC" profile "$model" --device eval; says err "evaluator"

# graph
expect 0 "$MIXC" graph "$model" -o g.svg; says g.svg "<svg"; says g.svg "Mlp"; says g.svg "&#215;2"
expect 0 "$MIXC" graph "$MIXC_TESTS/../models/widenet.mix" -o wide.svg; says wide.svg "&#215;4"       # one block, four times
[ "$(grep -o '>moe<' wide.svg | wc -l)" = 1 ] || complain "the shared block is drawn $(grep -o '>moe<' wide.svg | wc -l) times"
expect 0 "$MIXC" graph "$model" -o g.dot; says g.dot "digraph"
expect 0 "$MIXC" graph "$model" -vv -o all.dot; says all.dot "Tiny.l1"
expect 0 "$MIXC" graph "$model" -v -o each.dot; says each.dot 'label="l1'; [ $(wc -l <each.dot) -lt $(wc -l <all.dot) ] || complain "-v draws as much as -vv"
expect 2 "$MIXC" graph "$model" -o g.png; says err ".svg or .dot"
expect 0 "$MIXC" graph "$model" -o -; says out "</svg>"

# explain, doctor, completion, cache
expect 0 "$MIXC" explain E0412; [ -s out ] || complain "explain says nothing"
expect 0 "$MIXC" explain; says out "E0412"
expect 2 "$MIXC" explain E9999; says err "E9999"
expect 0 "$MIXC" doctor; says out "compiler"; says out "devices     "
MIXC_LIBCUDA=/nowhere MIXC_NVRTC=/nowhere expect 0 "$MIXC" doctor; says out "cpu (default), eval"; says_not out "eval, sim"
expect 0 "$MIXC" doctor --json; says out '"verdict": "pass"'
CC=/nonexistent/cc expect 3 "$MIXC" doctor; says out "fail"
for shell in bash zsh fish; do expect 0 "$MIXC" completion $shell; says out "mixc"; done
expect 2 "$MIXC" completion tcsh
"$MIXC" completion bash | bash -n || complain "the bash completion does not parse"
completes() {                               # completes WORD.. EXPECTED: what bash offers for the last of the words
    local want=${*: -1}
    (eval "$("$MIXC" completion bash)"; COMP_WORDS=("${@:1:$#-1}"); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _mixc; echo "${COMPREPLY[@]}") >offered
    [ "$(cat offered)" = "$want" ] || complain "after ${*:1:$#-1}: $(cat offered), not $want"
}
completes mixc trai train
completes mixc show "$MIXC_TESTS/../models/gpt.mix" --size m medium
completes mixc run "$MIXC_TESTS/../models/gpt.mix" --entry A Attn
completes mixc plan x.mix --mode g generate
completes mixc dump x.mix --after fuse_r "fuse_rows fuse_route"
expect 0 "$MIXC" cache ls; says out "entries"
expect 0 "$MIXC" cache ls --json; says out '"entries"'
expect 0 "$MIXC" cache gc; expect 0 "$MIXC" cache clear
expect 2 "$MIXC" cache burn

# a compiler that refuses what we generate is our mistake: 70, and a folder to see it again
cat >picky <<'END'
#!/bin/sh
for a; do case $a in *.c) [ "$(wc -c <"$a")" -lt 300 ] || { echo "picky: error: too long" >&2; exit 1; } ;; esac; done
exec cc "$@"
END
chmod +x picky
CC=$tmp/picky MIXC_CACHE_DIR=$tmp/none expect 70 "$MIXC" profile "$model" --steps 1; says err "mixc-bug-"
says mixc-bug-*/command.txt "profile"; cmp -s mixc-bug-*/1-tiny.mix "$model" || complain "the bundle lacks the model"

# a full disk is an error, not a half file
expect 6 sh -c "'$MIXC' show '$model' > /dev/full"
finish
