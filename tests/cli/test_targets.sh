# Targets of `mixc run`: below 0 where positions are left out by `where=`, else within the classes.
. "$MIXC_TESTS/cli/lib.sh"

cat >some.mix <<'EOF'
mix 1
axis B : batch = 3, V = 5
model Some(x: [B,V], labels: int[B]) -> y: [B,V] {
  y = x
  penalty loss = cross_entropy(x, labels, over=V, where=labels >= 0)
}
EOF
sed 's/, where=labels >= 0//' some.mix >all.mix

# inputs FILE BYTES: zeros, but the last label has the four bytes.
inputs() {
    zeros "$1" input.x F32 3,5 input.labels I32 3
    head -c -4 "$1" >part
    { cat part; printf "$2"; } >"$1"
}
inputs left_out.st '\x9c\xff\xff\xff'       # -100
inputs beyond.st '\x05\x00\x00\x00'

for device in cpu eval; do
    expect 0 "$MIXC" run some.mix --inputs left_out.st --out out.st --grad --device $device
    expect 1 "$MIXC" run some.mix --inputs beyond.st --out out.st --grad --device $device
    says err 'has the number 5 (element 2), but it indexes axis `V`, which has the positions 0 to 4'
    expect 1 "$MIXC" run all.mix --inputs left_out.st --out out.st --grad --device $device
    says err 'has the number -100'
done
finish
