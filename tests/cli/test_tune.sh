# mixc tune: times are kept as they are measured, a killed search goes on, a broken database costs nothing but speed.
. "$MIXC_TESTS/cli/lib.sh"
model=$here/tiny.mix
db=$MIXC_CACHE_DIR/tuning.db

rows() { "$MIXC" tune "$model" --json --candidates 2 --kernel nothing-like-it 2>/dev/null | grep -c '"kernel"'; }

# a search, its table, and nothing left to do the second time
expect 0 "$MIXC" tune "$model" --candidates 3; says out "kernel structures have a choice"; says_not out "goes on from here"
expect 0 "$MIXC" tune "$model" --kernel nothing-like-it; says err "no kernel that has a choice"
all=$(rows)
[ "$all" -gt 6 ] || complain "only $all timings"
expect 0 "$MIXC" tune "$model" --candidates 3 --json; says out '"finished": true'; says out '"schedule": "default"'; says out '"outcome": "ok"'
says_not out '"wrong"'; says_not out '"crashed"'
[ "$(rows)" = "$all" ] || complain "a finished search measured again"
# more candidates later keep the old rows
expect 0 "$MIXC" tune "$model" --candidates 4 --kernel logits
more=$(rows)
[ "$more" -ge "$all" ] || complain "old rows were lost"

# schedules of one's own are timed and nothing is kept
expect 0 "$MIXC" tune "$model" --kernel logits --try "tile_rows=3; default"; says out "faster in"; says out "  tile_rows=3"
expect 0 "$MIXC" tune "$model" --kernel logits --try "tile_rows=3" --json; says out '"race": 2, "schedule": "tile_rows=3", "outcome": "ok"'
expect 2 "$MIXC" tune "$model" --try "tile_rows"; says err "takes schedules like"
[ "$(rows)" = "$more" ] || complain "--try was kept"

# constants of the cost model: measured by the first search, again when asked, and never believed when they cannot be
expect 0 "$MIXC" tune "$model" --calibrate --budget 0.000001; says err "a launch takes"
python3 - "$db" <<'PY' || complain "no constants are kept"
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
found = dict(db.execute("SELECT name, value FROM constant").fetchall())
assert sorted(found) == ["copy_cycles", "launch_cycles"] and all(0.05 < x < 1e6 for x in found.values()), found
db.execute("UPDATE constant SET value = -1e300 WHERE name = 'launch_cycles'")
PY
expect 0 "$MIXC" plan "$model"
expect 0 "$MIXC" tune "$model" --candidates 3
python3 -c "
import sqlite3
assert sqlite3.connect('$db').execute('SELECT min(value) FROM constant').fetchone()[0] > 0" || complain "an impossible constant stays"
rm -f "$db"
expect 0 "$MIXC" tune "$model" --candidates 3
all=$(rows)

# a schedule wins by the middle one of its last three ratios, if it was faster in so many rounds that chance explains nothing
verdict() {                                 # verdict WINS: of 60 rounds in each race
    python3 - "$db" "$1" <<'PY'
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
kernel, place, schedule = db.execute("SELECT kernel, place, schedule FROM timing WHERE about LIKE 'logits%' AND outcome = 'ok'"
                                     " AND schedule <> 'default' ORDER BY schedule").fetchone()
db.execute("DELETE FROM race WHERE kernel = ?", (kernel,))
db.execute("UPDATE timing SET seconds = beside, beside = 1 WHERE kernel = ?", (kernel,))
db.execute("UPDATE timing SET seconds = 0.5 WHERE kernel = ? AND schedule = ?", (kernel, schedule))
db.execute("UPDATE timing SET seconds = 1 WHERE kernel = ? AND schedule = 'default'", (kernel,))
for number, ratio in enumerate((0.97, 0.5, 0.9)):
    db.execute("INSERT INTO race VALUES (?, ?, ?, ?, ?, 60, ?, 0)", (kernel, place, schedule, number, ratio, int(sys.argv[2])))
PY
    expect 0 "$MIXC" tune "$model" --candidates 2 --kernel logits
}
verdict 50; says out " 10.0%"
verdict 33; says out " 0.0%"
rm -f "$db"
expect 0 "$MIXC" tune "$model" --candidates 3

for i in $(seq 60); do echo "the quick brown fox jumps over the lazy dog and runs"; done >text.txt
# tuned or not, the results are the same up to rounding
expect 0 "$MIXC" train "$model" --steps 3 --out tuned
expect 0 "$MIXC" train "$model" --steps 3 --out plain --deterministic
expect 0 "$MIXC" diff tuned/*3.safetensors plain/*3.safetensors --tolerance 1e-3

# killed at random moments, it resumes each time and loses nothing
rm -f "$db"
last=0
for i in 1 2 3 4 5 6 7 8; do
    timeout -s KILL 0.$((3 * i % 10))5 "$MIXC" tune "$model" --candidates 3 >/dev/null 2>&1
    now=$(rows)
    [ "$now" -ge "$last" ] || complain "timings were lost: $last, then $now"
    last=$now
done
expect 0 "$MIXC" tune "$model" --candidates 3; says_not out "goes on from here"
[ "$(rows)" = "$all" ] || complain "after being killed: $(rows) timings, not $all"

# several that begin a database at once find one another's tables whole
rm -f "$db"
searches=
for i in 1 2 3 4 5; do
    "$MIXC" tune "$model" --budget 0.000001 >/dev/null 2>"together.$i" & searches="$searches $!"
done
for search in $searches; do wait "$search" || complain "a search fails beside others"; done
ls "$MIXC_CACHE_DIR" | grep -q damaged && complain "a new database was taken for a damaged one"

# damaged, foreign, locked
head -c 5000 /dev/urandom >"$db"
expect 0 "$MIXC" plan "$model"
expect 0 "$MIXC" tune "$model" --budget 0.000001; says err "a new one is begun"
ls "$MIXC_CACHE_DIR" | grep -q 'tuning.db.damaged-1' || complain "the damaged database was not kept aside"
expect 0 "$MIXC" tune "$model" --candidates 3 --kernel logits
size=$(stat -c %s "$db")
truncate -s $((size / 2)) "$db"
expect 0 "$MIXC" plan "$model"
expect 0 "$MIXC" tune "$model" --budget 0.000001; says err "a new one is begun"
expect 2 "$MIXC" tune "$model" --budget soon; says err "takes a time"
expect 3 "$MIXC" tune "$model" --device null; says err "no schedules"
chmod 500 "$MIXC_CACHE_DIR"; rm -f "$db" 2>/dev/null
if [ "$(id -u)" != 0 ]; then expect 6 "$MIXC" tune "$model"; says err "tuning database"; fi
chmod 700 "$MIXC_CACHE_DIR"
finish
