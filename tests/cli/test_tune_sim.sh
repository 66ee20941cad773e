# mixc tune --device sim: schedules are ranked by what the simulator counts, as a GPU of that name would take for it: the same every time.
. "$MIXC_TESTS/cli/lib.sh"
cat >small.mix <<'MIX'
mix 1
axis B = 64, D = 128, F = 96
model Small(x: [B,D]) -> y: [B,F] {
  param w[D,F]
  y = relu(x @[D] w)
}
MIX
"$MIXC" plan small.mix --device sim >/dev/null 2>&1 || { echo "skipped: no simulator"; exit 77; }
search() { rm -f "$MIXC_CACHE_DIR/tuning.db"; "$MIXC" tune small.mix --device sim --candidates 3 --json --quiet "$@" 2>/dev/null; }
search >first || complain "no search"
search >second
grep -q '"finished": true' first || complain "the search does not end"
grep -q '"outcome": "ok"' first || { echo "skipped: no compiler of CUDA texts"; exit 77; }
[ "$(grep -c '"outcome": "ok"' first)" = 3 ] || complain "not all schedules are right"
cmp -s first second || complain "counts differ from one search to the next"
search --as A100 >a100
grep -o '"seconds": [^,]*' first >first.s; grep -o '"seconds": [^,]*' a100 >a100.s
cmp -s first.s a100.s && complain "one GPU is like another"
expect 2 "$MIXC" tune small.mix --device sim --as K80; says err "one of H100"
sed -n '/"best"/,$p' first | grep -q gpu_ || complain "nothing better than the default was found"
finish
