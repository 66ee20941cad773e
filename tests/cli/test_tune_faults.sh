# A search that is killed at any moment comes to the answer of one that was not; a tuning database that is locked, of another
# program, of another version, a folder, or on a full disk changes no result and loses nothing that was there.
# MIXC_KILLS=20 kills more often than the usual few times.
. "$MIXC_TESTS/cli/lib.sh"
model=$here/tiny.mix
db=$MIXC_CACHE_DIR/tuning.db
search="$MIXC tune $model --candidates 4 --kernels 6 --quiet"
short="$MIXC tune $model --candidates 4 --kernels 2 --quiet"

for i in $(seq 60); do echo "the quick brown fox jumps over the lazy dog and runs"; done >text.txt
losses() { sed -n 's/.*"loss": \([^,]*\),.*/\1/p' "$1"; }

# What the search is about: kernels, schedules, outcomes, without the times; each once.
answer() {
    MIXC_CACHE_DIR=$1 $search --json 2>/dev/null |
        sed -n 's/.*"kernel": "\([^"]*\)", "schedule": "\([^"]*\)".*"outcome": "\([^"]*\)".*/\1 \2 \3/p' | sort
}

# Times in a database; 0 where its tables are not made yet.
count() { python3 -c "import sqlite3; print(sqlite3.connect('$1').execute('SELECT count(*) FROM timing').fetchone()[0])" 2>/dev/null || echo 0; }

# --- killed
mkdir -m 700 whole killed
MIXC_CACHE_DIR=$PWD/whole $search --calibrate --budget 0.000001 >/dev/null || complain "no constants"
cp whole/tuning.db killed               # the same constants, so that both try the same
begin=$(date +%s%N)
answer "$PWD/whole" >want
took=$(((($(date +%s%N) - begin)) / 1000000 + 50))
[ "$(wc -l <want)" -ge 12 ] || complain "only $(wc -l <want) schedules"
[ "$(wc -l <want)" = "$(uniq want | wc -l)" ] || complain "a schedule stands there twice"
have=0
for i in $(seq "${MIXC_KILLS:-3}"); do
    wait_ms=$((RANDOM % took))
    MIXC_CACHE_DIR=$PWD/killed timeout -s KILL $((wait_ms / 1000)).$(printf %03d $((wait_ms % 1000))) $search >/dev/null 2>&1 || true
    [ -f killed/tuning.db ] || continue
    now=$(count killed/tuning.db)
    [ "$now" -ge "$have" ] || complain "killed after $wait_ms ms: $now times, $have before"
    have=$now
done
answer "$PWD/killed" >got
cmp -s want got || { complain "killed ${MIXC_KILLS:-3} times, the search ends elsewhere"; diff want got | head >&2; }
ls killed | grep -q damaged && complain "killed, it left a damaged database"

# Whoever was promising in the first race has met the default in all of the last ones.
unsettled() {
    python3 - "$1" <<'PY'
import sqlite3, sys
db = sqlite3.connect(sys.argv[1])
for (kernel,) in db.execute("SELECT DISTINCT kernel FROM timing").fetchall():
    best = db.execute("SELECT schedule FROM timing WHERE kernel = ? AND outcome = 'ok' AND schedule <> 'default' AND seconds < beside"
                      " ORDER BY seconds/beside LIMIT 3", (kernel,)).fetchall()
    for (schedule,) in best:
        n = db.execute("SELECT count(*) FROM race WHERE kernel = ? AND schedule = ?", (kernel, schedule)).fetchone()[0]
        if n != 3:
            print(kernel, schedule, n)
PY
}
[ -z "$(unsettled killed/tuning.db)" ] || complain "killed, it left races out: $(unsettled killed/tuning.db)"

# --- of the version before: what was measured stays, the new tables come
cp killed/tuning.db "$db"
python3 -c "import sqlite3; d = sqlite3.connect('$db'); d.executescript('DROP TABLE race; DROP TABLE constant; PRAGMA user_version = 1')"
had=$(count "$db")
expect 0 "$MIXC" train "$model" --steps 1 --out earlier
expect 0 $search --json; says out '"finished": true'
[ "$(count "$db")" -ge "$had" ] || complain "a database of the version before lost times"
rm "$db"

# --- the results of a run whose database cannot be used: those of the cost model, bit for bit
expect 0 "$MIXC" train "$model" --steps 2 --out plain --deterministic --progress json; losses err >want.losses
[ -s want.losses ] || losses out >want.losses
[ -s want.losses ] || complain "a run says no losses"
same_results() {
    rm -rf run
    expect 0 "$MIXC" train "$model" --steps 2 --out run --progress json
    losses err >got.losses; [ -s got.losses ] || losses out >got.losses
    cmp -s want.losses got.losses || complain "$1: other losses"
    cmp -s plain/step-2.safetensors run/step-2.safetensors || [ ! -f plain/step-2.safetensors ] || complain "$1: other parameters"
}
# refused WHAT TEXT: the search says TEXT and ends; what was measured before is there
refused() {
    expect 6 $search
    says err "$2"
    same_results "$1"
}
cp whole/tuning.db "$db"
all=$(count "$db")

# locked by another process, which will not let go
python3 - "$db" <<'PY' &
import sqlite3, sys, time
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("BEGIN EXCLUSIVE")
open("is-locked", "w").close()
while True:
    time.sleep(0.1)
PY
locker=$!
while [ ! -f is-locked ]; do sleep 0.05; done
refused "a locked database" "another process holds it locked"
kill $locker; wait $locker 2>/dev/null
[ "$(count "$db")" = "$all" ] || complain "a lock cost times"
ls "$MIXC_CACHE_DIR" | grep -q damaged && complain "a locked database was taken for a damaged one"

# of another program, and of a later version of this one: moved aside, whole, and a new one begun
quarantined() {
    cp "$db" foreign
    rm -f "$MIXC_CACHE_DIR"/tuning.db.damaged-*
    same_results "$1"
    cmp -s "$db" foreign || complain "$1: a run changed it"
    expect 0 "$MIXC" tune "$model" --budget 0.000001; says err "a new one is begun"
    cmp -s "$MIXC_CACHE_DIR/tuning.db.damaged-1" foreign || complain "$1: it was not kept as it was"
    expect 0 $short --json; says out '"finished": true'
    [ "$(count "$db")" -ge 4 ] || complain "$1: the new database stays empty"
}
rm "$db"; python3 -c "import sqlite3; d = sqlite3.connect('$db'); d.execute('CREATE TABLE addresses (name)'); d.commit()"
quarantined "another program's database"
rm "$db"; echo "these are my notes" >"$db"
quarantined "a text"
cp whole/tuning.db "$db"; python3 -c "import sqlite3; d = sqlite3.connect('$db'); d.execute('PRAGMA user_version = 99'); d.commit()"
quarantined "a later version"

# pages in the middle are overwritten: the search notices, a run does not fall over it
cp whole/tuning.db "$db"
head -c 8192 /dev/urandom | dd of="$db" bs=4096 seek=1 conv=notrunc 2>/dev/null
same_results "damaged pages"
expect 0 "$MIXC" tune "$model" --budget 0.000001; says err "a new one is begun"

# an empty file is a database that nobody has begun; a folder of that name is nobody's
: >"$db"
same_results "an empty file"
expect 0 $short --json; says out '"finished": true'
rm "$db"; mkdir "$db"
same_results "a folder"
$search >out 2>err; [ $? -le 6 ] || complain "a folder of that name: the search fell"
rm -rf "$db" "$db".damaged-*

# a full disk: no file may grow beyond what the database is now; the search says so, and all times stay
cp whole/tuning.db "$db"
size=$((($(stat -c %s "$db") + 1023) / 1024))
(trap '' XFSZ; ulimit -f $((size < 16 ? 16 : size)); exec "$MIXC" tune "$model" --candidates 12 --quiet >out 2>err)
code=$?
[ $code = 6 ] || [ $code = 0 ] || complain "a full disk: exit $code"
[ $code = 0 ] || says err "tuning database"
[ "$(count "$db")" -ge "$all" ] || complain "a full disk cost times"
python3 -c "
import sqlite3
assert sqlite3.connect('$db').execute('PRAGMA integrity_check').fetchone()[0] == 'ok'" || complain "a full disk damaged the database"
expect 0 $search --json; says out '"finished": true'
finish
