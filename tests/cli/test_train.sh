# Training and what follows it: files, resume to the bit, signals, pipes, numbers that are not finite, eval, generate.
. "$MIXC_TESTS/cli/lib.sh"
model=$here/tiny.mix
for i in $(seq 60); do echo "the quick brown fox jumps over the lazy dog and runs"; done >text.txt
train() { "$MIXC" train "$model" --data text.txt "$@"; }

# a run and its files; plain lines without control codes when it is piped
expect 0 train --out run --steps 30
says out "step 30/30"; says out "val "; says_not out $'\033'; says_not out $'\r'
for file in model.mix run.json log.jsonl report.html loss.svg last.safetensors; do [ -e run/$file ] || complain "no run/$file"; done
says run/report.html "<svg"; says_not run/report.html "http://"; says_not run/report.html "src="
tail -1 run/log.jsonl | grep -q '"watch": {"Tiny.size": [0-9.]*}' || complain "the log lacks what the model watches"
tail -1 run/log.jsonl | grep -q '"step": 30.*"val_loss"' || complain "the last row of the log lacks a validation loss"
first=$(grep -o '"loss": [0-9.]*' run/log.jsonl | head -1 | cut -d' ' -f2); last=$(grep -o '"loss": [0-9.]*' run/log.jsonl | tail -1 | cut -d' ' -f2)
awk "BEGIN {exit !($last < $first - 0.3)}" || complain "the loss did not fall: $first to $last"

# a run is not overwritten by mistake
expect 2 train --out run --steps 2; says err "--resume"
expect 0 train --out run --steps 2 --force -q; empty out
[ "$(readlink run/last.safetensors)" = step-000000002.safetensors ] || complain "--force kept old checkpoints"

# resume is exact to the bit: data order, dropout masks and schedule included; any number of threads gives the same bits
expect 0 train --out whole --steps 24 --seed 5 -q
expect 0 train --out parts --steps 9 --seed 5 -q --threads 1
expect 0 train --out parts --steps 24 --resume -q --threads 2
cmp -s whole/last.safetensors parts/last.safetensors || complain "a resumed run differs from an unbroken one"
[ "$(wc -l <whole/log.jsonl)" = "$(wc -l <parts/log.jsonl)" ] || complain "the resumed log lacks rows"
expect 0 train --out other --steps 24 --seed 6 -q
! cmp -s whole/last.safetensors other/last.safetensors || complain "the seed changes nothing"
expect 6 train --out nowhere --resume; says err "no checkpoint"

# resume goes on with the same run: what would make it another one is named, and refused without --force
expect 0 train --out same --steps 2 --seed 5 -q train.lr=1e-3
for other in "train.lr=2e-3" "train.batch=2" "dropout=0" "--seed 6" "--dtype bf16" "--data prompt.txt" "--weights whole"; do
    cp text.txt prompt.txt
    expect 2 train --out same --steps 4 --resume $other -q; says err "${other%%[= ]*}"
done
says err "--resume"
expect 2 train --out same --steps 4 --resume train.lr=2e-3 --seed 6 -q
says err "train.lr: it was 1e-3, now it is 2e-3"; says err "--seed: it was 5, now it is 6"; says err "--force"
{ cat "$model"; echo '# another line'; } >changed.mix
expect 2 "$MIXC" train changed.mix --data text.txt --out same --steps 4 --resume -q; says err "same/model.mix"
[ "$(readlink same/last.safetensors)" = step-000000002.safetensors ] || complain "a refused run went on"
expect 0 train --out same --steps 3 --resume -q train.lr=1e-3 train.log=1 train.eval=5 train.save=2 generate.temperature=0.5
expect 0 train --out same --steps 4 --resume --force train.lr=2e-3; says err "train.lr: it was 1e-3"

# accumulation: two halves of a batch are a step
expect 0 train --out halves --steps 3 -q train.grad_accum=2

# the step and the evaluator agree
expect 0 train --out oracle --steps 3 -q --device eval
expect 0 train --out engine --steps 3 -q
expect 0 "$MIXC" diff engine/last.safetensors oracle/last.safetensors --tolerance 2e-3

# a running average is what is evaluated: during training, and from the checkpoint
expect 0 train --out average --steps 20 train.ema=0.9 -q
grep -aq '"state.ema/Tiny.wte"' average/last.safetensors || complain "no running average in the checkpoint"
expect 0 "$MIXC" eval average --steps 20 --json
grep -o '"loss": [^,]*' out | cut -c9-16 >eval.out
tail -1 average/log.jsonl | grep -o '"val_loss": [^,}]*' | cut -c13-20 | cmp -s - eval.out || complain "training and eval differ on averaged weights"

# --progress json: every line has step, loss and tokens_per_s
expect 0 train --out json --steps 12 --progress json
[ "$(wc -l <out)" -ge 12 ] || complain "too few lines of JSON"
[ "$(grep -c '^{.*"step": .*"loss": .*"tokens_per_s": .*}$' out)" = "$(wc -l <out)" ] || complain "a line of JSON lacks a field"
expect 2 train --out x --progress loud; says err "tty, plain or json"
expect 0 train --out tty --steps 3 --progress tty; says out $'\r'

# a signal saves and exits with 130; the run goes on from there
"$MIXC" train "$model" --data text.txt --out stopped --steps 1000000 --progress json >stopped.out 2>stopped.err &
pid=$!
for i in $(seq 100); do [ "$(wc -l <stopped.out)" -gt 3 ] && break; sleep 0.05; done
kill -INT $pid; wait $pid; code=$?
[ $code = 130 ] || complain "exit $code after a signal"
says stopped.err "--resume"
step=$(readlink stopped/last.safetensors | grep -o '[0-9]*' | sed 's/^0*//')
expect 0 train --out stopped --steps $((step + 1)) --resume
says out "step $((step + 1))/"

# a loss that is not finite: exit 5, and the checkpoint stays
expect 0 train --out nan --steps 2 -q
cp "$(realpath nan/last.safetensors)" before.st
expect 5 train --out nan --steps 60 --resume --force train.lr=1e30 -q; says err "train.lr"
cmp -s nan/last.safetensors before.st || complain "the checkpoint was overwritten with numbers that are not finite"

# a kill loses nothing that was saved
"$MIXC" train "$model" --data text.txt --out killed --steps 1000000 --progress json train.save=2 >killed.out 2>&1 &
pid=$!
for i in $(seq 100); do [ "$(wc -l <killed.out)" -gt 9 ] && break; sleep 0.05; done
kill -9 $pid; wait $pid 2>/dev/null
step=$(readlink killed/last.safetensors | grep -o '[0-9]*' | sed 's/^0*//')
expect 0 train --out killed --steps $((step + 1)) --resume

# eval
expect 0 "$MIXC" eval whole; says out "loss"
expect 0 "$MIXC" eval whole --json; says out '"loss": '; grep -o '"loss": [^,]*' out >eval.out
expect 0 "$MIXC" eval "$model" --weights whole --data text.txt --json
grep -o '"loss": [^,]*' out | cmp -s - eval.out || complain "eval DIR and eval FILE differ"
expect 2 "$MIXC" eval "$model"; says err "--weights"
expect 6 "$MIXC" eval whole --data missing.txt

# data with labels: how many are right, not a perplexity. Pictures of two by two pixels; the bright one is the label.
mkdir pictures
for set in train t10k; do
    printf '\x00\x00\x08\x03\x00\x00\x00\x50\x00\x00\x00\x02\x00\x00\x00\x02' >pictures/$set-images-idx3-ubyte
    printf '\x00\x00\x08\x01\x00\x00\x00\x50' >pictures/$set-labels-idx1-ubyte
    for i in $(seq 20); do
        printf '\xff\x10\x00\x09\x00\xf0\x11\x00\x13\x00\xff\x00\x00\x08\x10\xfe' >>pictures/$set-images-idx3-ubyte
        printf '\x00\x01\x02\x03' >>pictures/$set-labels-idx1-ubyte
    done
done
cat >bright.mix <<'EOF'
mix 1
axis B : batch in 1..64, Y = 2, X = 2, C = 1, N = 4
model Bright(image: [B,Y,X,C]) -> logits: [B,N] {
  param W[Y,X,C,N] = zeros
  logits = image @[Y,X,C] W
}
data pictures { source = "pictures" }
train Bright on pictures {
  loss = cross_entropy(logits, labels, over=N)
  optimizer = adam(lr=0.1)  batch = 20  steps = 20
}
EOF
expect 0 "$MIXC" train bright.mix --out bright --steps 20; says out "acc 100.0%"; says_not out "acc 100.0%  acc"
tail -1 bright/log.jsonl | grep -q '"val_accuracy": 1' || complain "the log lacks the accuracy"
expect 0 "$MIXC" eval bright; says out "accuracy 100.00%"; says_not out "perplexity"
expect 0 "$MIXC" eval bright --json; says out '"accuracy": 1,'; says_not out "perplexity"
expect 0 "$MIXC" eval whole --json; says out '"perplexity": '; says_not out "accuracy"

# generate
expect 0 "$MIXC" generate whole -p "the " -n 20 --seed 3; cp out one.out
says out "the "
expect 0 "$MIXC" generate whole -p "the " -n 20 --seed 3; cmp -s out one.out || complain "the same seed gives another text"
expect 0 "$MIXC" generate whole -p "the " -n 20 --seed 4; ! cmp -s out one.out || complain "another seed gives the same text"
expect 0 "$MIXC" generate whole -p "the " -n 20 --seed 3 --device eval -v; says err "each token computes the whole window"
cmp -s out one.out || complain "steps and whole windows give different texts"
[ "$(head -c -1 one.out | wc -m)" = 24 ] || complain "20 characters were asked for"
expect 0 "$MIXC" generate whole -n 5 --json; says out '"probability"'
printf 'fox' >prompt.txt; "$MIXC" generate whole -p - -n 3 <prompt.txt >out; says out "fox"
expect 6 "$MIXC" generate whole -p "#" -n 3
expect 6 "$MIXC" generate nowhere

# the world's failures
expect 2 "$MIXC" train "$model"; says err "--out"
expect 6 "$MIXC" train "$model" --data missing.txt --out y; says err "missing.txt"
expect 2 train --out z train.bacth=4; says err 'did you mean `train.batch`?'
CC=/nonexistent/cc MIXC_CACHE_DIR=$tmp/empty expect 3 train --out z --steps 1
expect 4 train --out z --steps 1 --max-mem 10K
expect 1 train --out z --steps 1 V=27; says err "V=28"
expect 1 train --out z --steps 1 train.batch=7 train.grad_accum=2; says err "equal parts"
expect 6 "$MIXC" eval "$(printf 'no\033[31mwhere')"; says err 'no?[31mwhere'
(ulimit -f 0; "$MIXC" train "$model" --data text.txt --out limited --steps 1 -q) 2>&1 | cat >err
says err "cannot be written: File too large"
(ulimit -f 0; "$MIXC" emit "$model" --target c -o limited.c 2>/dev/null); code=$?
[ $code = 6 ] && [ ! -e limited.c ] || complain "a file beyond the limit: exit $code, not 6"
sed '/^train/,/^}/d' "$model" >untrained.mix
expect 1 "$MIXC" train untrained.mix --out z; says err "no \`train\` section"
head -c 100 "$(realpath other/last.safetensors)" >"other/$(readlink other/last.safetensors).cut"
mv "other/$(readlink other/last.safetensors).cut" "other/$(readlink other/last.safetensors)"
expect 6 "$MIXC" eval "$model" --weights "other/$(readlink other/last.safetensors)" --data text.txt
finish
