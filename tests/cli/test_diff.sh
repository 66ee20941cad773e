# mixc diff: dumps name the first stage and line that differ, runs the first step.
. "$MIXC_TESTS/cli/lib.sh"
model=$here/tiny.mix
for i in $(seq 60); do echo "the quick brown fox jumps over the lazy dog and runs"; done >text.txt

expect 0 "$MIXC" dump "$model" --after all -o a
expect 0 "$MIXC" dump "$model" --after all -o b
expect 0 "$MIXC" diff a b; says err "stages are equal"; empty out
file=$(ls b | sed -n 3p)
sed -i '0,/ = mul /s// = add /' "b/$file"
expect 5 "$MIXC" diff a b; says out "$file: first difference in line"; says out "1 lines stand against 1"; says out "- "; says out "+ "
expect 5 "$MIXC" diff "a/$file" "b/$file"; says out " = add "
rm "b/$(ls b | sed -n 1p)" "a/$(ls a | sed -n 2p)"
expect 5 "$MIXC" diff a b; says out "only in a"; says out "only in b"
cp -r a "odd [1] name*"
expect 0 "$MIXC" diff "odd [1] name*" a; says err "stages are equal"
expect 6 "$MIXC" diff a nowhere.ir
mkdir empty
expect 6 "$MIXC" diff empty empty; says err "holds no IR"

for run in "one 1" "two 1" "three 2"; do
    set -- $run
    expect 0 "$MIXC" train "$model" --data text.txt --steps 4 --out "$1" --seed "$2" --progress json
done
expect 0 "$MIXC" diff one two; says out "losses agree"; says_not out "<- differs"
expect 5 "$MIXC" diff one three; says out "losses first part at step"; says out "<- differs"
expect 2 "$MIXC" diff one
# a loss that is no number is not a loss that agrees
cp -r one four
sed -i '2s/"loss":[^,}]*/"loss":null/' four/log.jsonl
expect 5 "$MIXC" diff four one; says out "losses first part at step"

# infinities and NaN: equal where they stand against themselves, and they hide nothing beside them
python3 - <<'PY'
import json, struct
def write(name, *x, tensor="t"):
    head = json.dumps({"__metadata__": {"zero_gradient": "['u']"}, tensor: {"dtype": "F32", "shape": [len(x)], "data_offsets": [0, 4*len(x)]}}).encode()
    open(name, "wb").write(struct.pack("<Q", len(head)) + head + struct.pack("<%df" % len(x), *x))
inf, nan = float("inf"), float("nan")
write("x.st", 1, -inf, nan)
write("y.st", 2, -inf, nan)
write("z.st", 1, -inf, 1)
write("bare.st", 1, 2, 3, tensor="grad.")
PY
expect 0 "$MIXC" diff x.st x.st
expect 0 "$MIXC" diff bare.st bare.st
expect 5 "$MIXC" diff x.st y.st; says out "<- differs"
expect 5 "$MIXC" diff y.st x.st
expect 5 "$MIXC" diff x.st z.st
expect 5 "$MIXC" diff z.st x.st
finish
