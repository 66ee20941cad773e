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
rm "b/$(ls b | sed -n 1p)"
expect 5 "$MIXC" diff a b; says out "only in a"
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
finish
