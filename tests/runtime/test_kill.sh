# A training run that is killed (SIGKILL) at random moments, while it compiles, steps or saves, and goes on each time,
# ends with the same bits as one that was never disturbed, and leaves no files behind but its own.
set -u
MIXC=${MIXC:?the program under test}
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp" || exit 1
export MIXC_CACHE_DIR=$tmp/cache TMPDIR=$tmp/scratch
mkdir -m 700 cache scratch
kills=${MIXC_KILLS:-8}

cat > model.mix <<'MIX'
mix 1
axis B : batch = 4, T : time = 16, V = 256, D = 16
model M(tokens: int[B,T]) -> logits: [B,T,V] {
  param E[V,D], W[D,V]
  logits = dropout(E[V = tokens], 0.1) @[D] W
}
data text { source = "text.txt"  tokens = bytes }
train M on text {
  loss = cross_entropy(logits, targets, over=V)
  optimizer = adam(lr=1e-2)  batch = 4  eval = 50  save = 5  log = 10
}
MIX
for i in $(seq 400); do echo "line $i of a text that says little, but says it often"; done > text.txt

train() { "$MIXC" train model.mix --data text.txt --progress json "$@" >/dev/null 2>>err; }
train --steps 400 --out whole || { echo "FAIL: the undisturbed run"; cat err; exit 1; }

for i in $(seq "$kills"); do
    more=$([ -e part/last.safetensors ] && echo --resume || echo --force)
    "$MIXC" train model.mix --data text.txt --progress json --steps 400 --out part $more >/dev/null 2>>err &
    pid=$!
    sleep "0.0$((RANDOM % 9))$((RANDOM % 10))"
    kill -KILL $pid 2>/dev/null
    wait $pid 2>/dev/null
    # whatever is called a checkpoint is whole
    if [ -e part/last.safetensors ]; then
        "$MIXC" eval part >/dev/null 2>err || { echo "FAIL: after kill $i the newest checkpoint cannot be used"; cat err; exit 1; }
    fi
done
more=$([ -e part/last.safetensors ] && echo --resume || echo --force)
train --steps 400 --out part $more || { echo "FAIL: the last stretch"; cat err; exit 1; }
cmp whole/last.safetensors part/last.safetensors || { echo "FAIL: the disturbed run ended elsewhere"; exit 1; }
left=$(ls part | grep -c -e 'tmp$' -e 'link$')
[ "$left" -le 1 ] || { echo "FAIL: $left temporary files are left"; ls part; exit 1; }
steps=$(ls part | grep -c '^step-')
[ "$steps" -le 3 ] || { echo "FAIL: $steps generations are kept"; exit 1; }
