# mixc run, import and diff: what is missing, what does not fit, sizes from inputs, maps.
. "$MIXC_TESTS/cli/lib.sh"
model=$here/goldens/gmlp_block_causal.mix
params="param.Gmlp.Win F32 12,16 param.Gmlp.bin F32 16 param.Gmlp.Ws F32 9,9 param.Gmlp.bs F32 9 param.Gmlp.Wout F32 8,12
        param.Gmlp.bout F32 12 Gmlp.LN.gain F32 8 Gmlp.LN.bias F32 8"
zeros w.st $params
zeros i.st input.x F32 3,9,12 cotangent.y F32 3,9,12
run() { "$MIXC" run "$model" --entry Gmlp "$@"; }

# the batch axis takes its size from the input
expect 0 run --weights w.st --inputs i.st --out o.st
expect 0 "$MIXC" diff o.st o.st; says out "output.y"; says_not out "grad."
expect 0 run --weights w.st --inputs i.st --out o.st --grad
"$MIXC" diff o.st o.st --json >names
for name in output.y grad.input.x grad.param.Gmlp.Ws grad.param.Gmlp.LN.gain; do says names "\"$name\""; done
expect 1 run --weights w.st --inputs i.st --out o2.st B=2; says err "input.x"; [ ! -e o2.st ] || complain "run wrote after an error"

# `..` is the batch axis; a layer's own static axes take their sizes from the input too
zeros r.st input.x F32 5,4; zeros g.st Scale.gain F32 4
expect 0 "$MIXC" run "$here/rest.mix" --entry Scale --weights g.st --inputs r.st --out r.out
head -c 300 r.out | grep -aq '"shape":\[5,4\]' || complain "Scale on [5,4]"
zeros r.st input.v F32 2,3,7; zeros g.st Mix.M F32 3,3
expect 0 "$MIXC" run "$here/rest.mix" --entry Mix --weights g.st --inputs r.st --out r.out
head -c 300 r.out | grep -aq '"shape":\[2,3,7\]' || complain "Mix on [2,3,7]"
expect 0 "$MIXC" run "$here/rest.mix" --entry Mix --weights g.st --inputs r.st --out r.out P=3

# what is missing is listed, with near names
zeros w2.st param.Gmlp.Win F32 12,16 param.Gmlp.bin F32 16 param.Gmlp.Ws F32 9,9 param.Gmlp.bs F32 9 param.Gmlp.Wuot F32 8,12 \
    param.Gmlp.bout F32 12 Gmlp.LN.bias F32 8
expect 1 run --weights w2.st --inputs i.st --out o2.st
says err "2 tensors are missing"; says err "param.Gmlp.Wout"; says err "Gmlp.Wuot"; says err "param.Gmlp.LN.gain"
zeros i2.st input.y F32 3,9,12
expect 1 run --weights w.st --inputs i2.st --out o2.st; says err "input.x"
zeros w3.st ${params/16 param.Gmlp.Ws F32 9,9/16 param.Gmlp.Ws F32 9,8}
expect 1 run --weights w3.st --inputs i.st --out o2.st; says err "[9,8]"; says err "T'=9"

# files
expect 2 run --weights w.st --inputs i.st; says err "--out"
expect 6 run --weights nowhere.st --inputs i.st --out o2.st
head -c 50 w.st >cut.st; expect 6 run --weights cut.st --inputs i.st --out o2.st
expect 1 "$MIXC" run "$model" --entry Gmpl --weights w.st --inputs i.st --out o2.st; says err "Gmpl"

# kernels do not check indices: run does
cat >look.mix <<'EOF'
mix 1
axis B : batch in 1..8, V = 5, D = 2
model Look(tokens: int[B]) -> y: [B,D] {
  param E[V,D]
  y = E[V = tokens]
}
EOF
zeros e.st param.Look.E F32 5,2; zeros t.st input.tokens I32 3
for last in '\x04\x00\x00\x00 0' '\x05\x00\x00\x00 1' '\xff\xff\xff\xff 1'; do
    { head -c -4 t.st; printf "${last% *}"; } >t2.st
    rm -f o2.st
    expect ${last#* } "$MIXC" run look.mix --weights e.st --inputs t2.st --out o2.st
    [ ${last#* } = 0 ] || { says err "element 2"; says err "0 to 4"; [ ! -e o2.st ] || complain "run wrote after an error"; }
done

# neither do they check what a model computes from its inputs: run evaluates that first, and names the line. A kernel that
# gets such a number all the same reads nothing: 0 (tests/passes/bounds.ir, tests/codegen/test_bounds.c).
sed 's/tokens\];\{0,1\}/tokens*2 - 1]/' look.mix >look2.mix
for last in '\x03\x00\x00\x00 1' '\x02\x00\x00\x00 0' '\x00\x00\x00\x00 0'; do
    { head -c -4 t.st; printf "${last% *}"; } >t2.st
    expect ${last#* } "$MIXC" run look2.mix --weights e.st --inputs t2.st --out o2.st
    [ ${last#* } = 0 ] || { says err "look2.mix:5"; says err "position 5 of axis \`V\`"; says err "0 to 4"; says err "\`tokens\`"; }
done

# maps: diagnostics at their line, ranges and merges through run
echo 'Gmlp.Win[D,Z] = "in"[Z, D, D]' >bad.map
expect 1 run --weights w.st --inputs i.st --out o2.st --map bad.map; says err "bad.map:1:"; says err "E0712"
echo 'Gmlp.Win[D,F] = "in"[D, F]' >bad.map
zeros t.st param.in F32 12,16
expect 1 run --weights t.st --inputs i.st --out o2.st --map bad.map; says err "[D,Z]"
{ echo 'Gmlp.Win[D,Z] = "up.0"[Z@0..8, D]'; echo 'Gmlp.Win[D,Z] = "up.1"[Z@8..16, D]'
  echo 'Gmlp.bin[Z] = "bin"[1, Z] * 2'; echo 'input.x[B,T,D] = "input.seq_first"[T, B, D]'
  echo 'output.y[B,T,D] = "output.out"[T, (B D)]'; } >split.map
zeros w4.st up.0 F32 8,12 up.1 F32 8,12 bin F32 1,16 ${params#*param.Gmlp.bin F32 16}
zeros i4.st input.seq_first F32 9,5,12 cotangent.out F32 9,60
expect 0 run --weights w4.st --inputs i4.st --out o4.st --map split.map --grad
"$MIXC" diff o4.st o4.st --json >names
for name in output.out grad.input.seq_first grad.param.up.0 grad.param.up.1 grad.param.bin; do says names "\"$name\""; done
head -c 4000 o4.st | grep -aq '"output.out":{"dtype":"F32","shape":\[9,60\]' || complain "output.out has another shape"

# import
expect 0 "$MIXC" import "$model" --entry Gmlp --weights w4.st --map split.map -o ours.st
expect 0 run --weights ours.st --inputs i.st --out o5.st
expect 0 "$MIXC" import "$model" --entry Gmlp --weights w4.st --map split.map --dry-run; says out "Gmlp.Win <- up.1"
zeros w5.st up.0 F32 8,12 ${params#*param.Gmlp.bin F32 16}
expect 1 "$MIXC" import "$model" --entry Gmlp --weights w5.st --map split.map -o ours2.st; says err "up.1"
[ ! -e ours2.st ] || complain "import wrote after an error"

# diff
zeros a.st x F32 3 y F32 2; zeros b.st x F32 3 z F32 1; zeros c.st q F32 1; zeros d.st x F32 4
expect 0 "$MIXC" diff a.st b.st; says out "only in the first file"; says err "1 tensors are only in the second"
expect 1 "$MIXC" diff a.st c.st; says err "no tensor in common"
expect 5 "$MIXC" diff a.st d.st; says out "shapes differ"
expect 2 "$MIXC" diff a.st
finish
