# mixc bench and profile: every form of the table can be read, and the numbers fit together.
. "$MIXC_TESTS/cli/lib.sh"
model=$here/tiny.mix

expect 0 "$MIXC" bench "$model" --seconds 0.02 --kernels 3
for row in "| forward |" "| training step |" "| generation |" "GFLOP/s of float32"; do says out "$row"; done
expect 0 "$MIXC" bench "$model" --seconds 0.02 --kernels 3 -o b.json; empty out
expect 0 "$MIXC" bench "$model" --seconds 0.02 --kernels 3 -o b.csv
expect 0 "$MIXC" bench "$model" --seconds 0.02 --kernels 3 -o b.sql
expect 0 "$MIXC" profile "$model" --json -o trace.json; cp out p.json
python3 - <<'PY' || complain "the forms do not fit together"
import csv, json, sqlite3
b = json.load(open("b.json"))
what = [r["what"] for r in b["rows"]]
assert what[0] == "forward" and "training step" in what and what[-1] == "generation" and len(what) == 6, what
for r in b["rows"]:
    assert r["repeats"] >= 3 and 0 < r["least_s"] <= r["mean_s"] and r["sd_s"] >= 0, r
    assert 0 <= r["share"] <= 1.2, r                       # nothing is faster than the machine
step = b["rows"][1]
assert step["flops"] > b["rows"][0]["flops"] > 0 and step["floor_s"] > 0
rows = list(csv.DictReader(open("b.csv")))
assert [r["what"] for r in rows][:2] == what[:2] and float(rows[0]["flops"]) == b["rows"][0]["flops"]
db = sqlite3.connect(":memory:")
db.executescript(open("b.sql").read())
assert db.execute("select count(*) from bench where mean_s > 0").fetchone() == (6,)
p = json.load(open("p.json"))
assert abs(sum(k["seconds"] for k in p["kernels"]) - p["seconds"]) < 1e-9
assert p["ceiling"]["flops"] > 1e8 and p["wall_seconds"] > 0.5*p["seconds"]
assert all(k["bytes"] > 0 for k in p["kernels"]), [k["name"] for k in p["kernels"] if not k["bytes"]]
trace = json.load(open("trace.json"))["traceEvents"]
assert abs(sum(e["dur"] for e in trace)*1e-6 - p["seconds"]) < 1e-2
PY
# names with quotes and commas stay what they are
odd="a \"b\", c's.mix"
cp "$model" "$odd"
expect 0 "$MIXC" bench "$odd" --seconds 0.01 --kernels 2 -o odd.csv
expect 0 "$MIXC" bench "$odd" --seconds 0.01 --kernels 2 -o odd.sql
python3 - "$odd" <<'PY' || complain "names with quotes are not read back"
import csv, sqlite3, sys
rows = list(csv.DictReader(open("odd.csv")))
assert len(rows) == 5 and all(r["about"].startswith(sys.argv[1]) and float(r["mean_s"]) > 0 for r in rows), rows
db = sqlite3.connect(":memory:")
db.executescript(open("odd.sql").read())
assert all(a.startswith(sys.argv[1]) for (a,) in db.execute("select about from bench"))
PY
expect 2 "$MIXC" bench "$model" --kernels few; says err "whole number"
expect 6 "$MIXC" bench "$model" --seconds 0.01 -o no/where.md
expect 3 "$MIXC" bench "$model" --device eval; says err "cpu only"
finish
