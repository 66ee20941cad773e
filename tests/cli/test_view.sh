# mixc view: one page that needs nothing else; its stages are those of dump; a browser, where there is one, shows it without a
# complaint.
. "$MIXC_TESTS/cli/lib.sh"
models=$MIXC_TESTS/../models

expect 2 "$MIXC" view "$here/tiny.mix"; says err "OUT.html is missing"
expect 0 "$MIXC" view "$here/tiny.mix" -o tiny.html
expect 0 "$MIXC" view "$models/gpt.mix" --mode eval --steps 0 -o eval.html
expect 0 "$MIXC" dump "$models/gpt.mix" --mode eval --after all -o ir
time -p "$MIXC" view "$models/gpt.mix" --size gpt2 -o gpt2.html 2>err || complain "no view of GPT-2"
[ "$(stat -c %s gpt2.html)" -lt 5000000 ] || complain "the page of GPT-2 small has $(stat -c %s gpt2.html) bytes"
expect 0 "$MIXC" view "$models/switch.mix" --size tiny --steps 0 -o switch.html
for page in tiny eval gpt2 switch; do
    grep -qE '(src|href)=|https?://|@import|url\(' $page.html && complain "$page.html refers to something outside"
done

python3 - <<'PY' || complain "the data of the page is not what dump says"
import base64, glob, json, re, zlib
def data(name):
    page = open(name).read()
    return json.loads(zlib.decompress(base64.b64decode(re.search(r'id="data">([^<]*)<', page).group(1))))
d = data("eval.html")
files = sorted(glob.glob("ir/*.ir"))[1:-1]                  # not the one of codegen
assert len(d["stages"]) >= len(files) >= 5
by_name = {s["name"]: "\n".join(d["lines"][i] for i in s["lines"]) + "\n" for s in d["stages"]}
for f in files:
    name = re.sub(r".*/\d+-", "", f)[:-3]
    assert open(f).read().split("module {\n")[0] == by_name[name], name
assert not d["measured"] and all(s["ms"] >= 0 for s in d["stages"])
r = data("switch.html")["plan"]["routes"]
assert r and all(x["what_if"] and x["rows"] > 0 for x in r)
t = data("tiny.html")
assert t["measured"] and sum(l[2] for l in t["memory"]["launches"]) > 0
assert any(any(s["at"]) for s in t["stages"])
n = len(t["memory"]["launches"])
for name, kind, offset, size, first, last, shape in t["memory"]["buffers"]:
    assert offset + size <= t["memory"]["arena"] and first <= last < n, name
assert all(k["c"].count("void ") >= 1 for k in t["kernels"])
PY

browser=$(command -v chromium || command -v chromium-browser || true)
if [ -n "$browser" ]; then
    for page in tiny gpt2 switch; do
        timeout 120 "$browser" --headless=new --no-sandbox --disable-gpu --virtual-time-budget=20000 --enable-logging=stderr \
            --user-data-dir="$tmp/browser" --dump-dom "file://$tmp/$page.html#memory" >dom 2>log
        says dom 'data-ready="yes"'
        grep -q CONSOLE log && complain "$page.html: $(grep CONSOLE log | head -3)"
    done
fi
finish
