# Routes at run time: scores that are no numbers and full experts stop the run and name the route; the log and the report say
# what routes did; the plan says what capacities drop.
. "$MIXC_TESTS/cli/lib.sh"

cat >moe.mix <<'END'
mix 1
axis B : batch in 1..8, T : time in 1..8, D = 4, E : expert = 3
layer Moe(x: [B,T,D], s: [B,T,E]) -> [B,T,D] {
  param W[E,D,D']
  yield route x by s to E experts top 1 CLAUSES each t { yield (t @[D] W).rename(D' -> D) }
}
model M(x: [B,T,D], s: [B,T,E]) -> y: [B,T,D] { y = Moe(x, s) }
END
zeros w.st param.M.Moe.W F32 3,4,4

# inputs FILE NUMBER: x is 1 everywhere; the scores are 0 but for the last, whose bytes are given.
inputs() {
    zeros "$1" input.x F32 2,3,4 input.s F32 2,3,3
    local n; n=$(stat -c %s "$1")
    printf "$2" | dd of="$1" bs=1 seek=$((n - 4)) conv=notrunc 2>/dev/null
}
inputs fine.st '\x00\x00\x80\xbf'      # -1
inputs nan.st '\x00\x00\xc0\x7f'
inputs inf.st '\x00\x00\x80\x7f'

for clauses in 'gate softmax' 'gate sigmoid' 'gate one' 'gate sigmoid assign balanced over B*T' 'gate one assign sinkhorn over B*T' \
               'gate one capacity 1 over B*T assign experts_choose' 'gate sigmoid capacity 1 over T priority choice'; do
    sed "s/CLAUSES/$clauses/" moe.mix >m.mix
    for device in cpu eval; do
        mode=eval; [ $device = cpu ] && mode=train
        expect 0 "$MIXC" run m.mix --weights w.st --inputs fine.st --out o.st --device $device --mode $mode
        expect 5 "$MIXC" run m.mix --weights w.st --inputs nan.st --out o.st --device $device --mode $mode
        says err 'm.mix:5:9'
        says err 'got scores that are not finite for 1 of 6 tokens, so it cannot choose'
    done
done
sed "s/CLAUSES/gate softmax/" moe.mix >m.mix
expect 5 "$MIXC" run m.mix --weights w.st --inputs inf.st --out o.st
sed "s/CLAUSES/gate sigmoid balance switch(1) over B*T/" moe.mix >m.mix
expect 5 "$MIXC" run m.mix --weights w.st --inputs nan.st --out o.st --grad
says err 'got scores that are not finite for 1 of 6 tokens'

# all tokens have equal scores, so all go to expert 0, which has 2 places of 6 wanted
sed "s/CLAUSES/capacity 1 over B*T overflow error/" moe.mix >m.mix
for device in cpu eval; do
    expect 5 "$MIXC" run m.mix --weights w.st --inputs fine.st --out o.st --device $device
    says err 'm.mix:5:9: 4 of 6 choices of the route of `M.Moe` found no place: 2 at each of 3 experts in a pool of 6 tokens'
done
expect 0 "$MIXC" run m.mix --weights w.st --inputs fine.st --out o.st --mode generate
sed "s/CLAUSES/capacity rows(6) over B*T overflow error/" moe.mix >m.mix
expect 0 "$MIXC" run m.mix --weights w.st --inputs fine.st --out o.st

# A training run writes what its routes do.
cat >lm.mix <<'END'
mix 1
axis B : batch in 1..8, T : time in 1..16, D = 8, F = 8, V = 256, E : expert = 4
layer Moe(x: [B,T,D]) -> [B,T,D] {
  param Wr[D,E] = normal(STD), W1[E,D,F], W2[E,F,D]
  yield route x by x @[D] Wr to E experts top 2 capacity 1.0 over B*T OVERFLOW balance switch(0.01) over B*T
      each t { yield relu(t @[D] W1) @[F] W2 }
}
model Lm(tokens: int[B,T]) -> logits: [B,T,V] {
  param Em[V,D] = normal(1)
  x = Em[V = tokens]
  repeat l in 2 { x = x + Moe(x) }
  logits = x @[D] Em
}
data text { source = "text.txt" tokens = bytes windows = next(T) }
train Lm on text { loss = cross_entropy(logits, targets, over=V) + aux optimizer = adam(lr=1e-3) batch = 4 steps = 20 log = 5 eval = 10 }
END
for i in $(seq 200); do echo "line $i of some text, with words"; done >text.txt
sed 's/STD/1/; s/OVERFLOW//' lm.mix >m.mix
expect 0 "$MIXC" train m.mix --out run --progress plain
says out 'route Lm.l'
says out '(ideal 1)'
says run/log.jsonl '"routes": [{"name": "Lm.l0.Moe", "dropped": '
says run/log.jsonl '"load_percent": ['
says run/report.html '<h2>Routes</h2>'
says run/report.html 'load of the experts of Lm.l1.Moe'
says_not run/log.jsonl 'watch.route'
says_not run/report.html 'route.0'
[ "$(grep -c '"routes"' run/log.jsonl)" = 4 ] || complain "not every row of the log has its routes"
cp run/log.jsonl before.jsonl
expect 0 "$MIXC" train m.mix --out run --progress plain --resume --steps 25
head -4 run/log.jsonl | cmp -s - before.jsonl || complain "a resumed run lost its routes"
sed 's/STD/1/; s/OVERFLOW/overflow error/' lm.mix >m.mix
expect 5 "$MIXC" train m.mix --out run2 --progress plain
says err 'found no place'
says err 'm.mix:5:9'
sed 's/STD/1e38/; s/OVERFLOW//' lm.mix >m.mix
expect 5 "$MIXC" train m.mix --out run3 --progress plain
says err 'not finite'
says err 'm.mix:5:9'

# The plan says what places cost and what other capacities would drop: 4 sequences of 16 tokens, 2 choices of 4 experts.
sed 's/STD/1/; s/OVERFLOW//' lm.mix >m.mix
expect 0 "$MIXC" plan m.mix B=4
says out 'routes: 2'
grep -qE '^Lm.l1.Moe +m.mix:5:9 +4 +2 +B\*T = 64 +1 +32 +128 +[0-9.]+ KiB +[0-9.]+ KiB +5.0 %$' out || { complain "the capacity table"; cat out; }
says out 'what if: 4 experts, top 2, pools of 64 tokens'
says out '  capacity 1.25          40 rows an expert   drops 0.'
says out '  dropless               64 rows an expert   drops 0'
expect 0 "$MIXC" plan m.mix B=4 --json
says out '{"layer": "Lm.l0.Moe", "rows": 32, "bytes": '
says out '"experts": 4, "choices": 2, "pool": "B*T", "pool_tokens": 64, "pools": 1, "total_rows": 128, "dropless": false'
says_not out '"bytes": 0, "place"'
expect 0 "$MIXC" plan m.mix B=4 --mode generate --json
says out '"rows": 64, "bytes": '
says out '"dropless": true'
sed 's/capacity 1.0 over B\*T OVERFLOW/capacity 1.5 over T assign experts_choose/; s/STD/1/' lm.mix >m.mix
expect 0 "$MIXC" plan m.mix B=4 --mode train
says out 'T = 16 x 4'
says out '(experts choose)'
finish
