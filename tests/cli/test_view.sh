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
expect 0 "$MIXC" view "$models/switch.mix" --size tiny --steps 1 -o switch.html
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
assert t["ceiling"]["flops"] > 1e8 and t["ceiling"]["bytes"] > 1e8 and d["ceiling"]["flops"] == 0
assert any("." in k["layer"] for k in t["kernels"]) and all(s["flops"] > 0 for s in t["stages"])
assert t["measured"] and sum(l[2] for l in t["memory"]["launches"]) > 0
assert any(any(s["at"]) for s in t["stages"])
n = len(t["memory"]["launches"])
for name, kind, offset, size, first, last, shape, layer in t["memory"]["buffers"]:
    assert kind in ("input", "param", "state", "output", "temp", "kept"), kind
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
    # by keyboard: tabs, the slider, lines of both panes, rows of tables that lead to kernels and back to lines
    { cat switch.html; cat <<'JS'; } >keys.html
<script>addEventListener("load", () => setTimeout(() => {
  const key = (e, k) => e.dispatchEvent(new KeyboardEvent("keydown", {key: k, bubbles: true, cancelable: true}));
  const shown = () => [...document.querySelectorAll("[role=tabpanel]")].filter((p) => !p.hidden).map((p) => p.id).join();
  const marked = (id) => document.querySelectorAll("#" + id + " .hit").length, told = [];
  key($("tab-ir"), "ArrowRight"); told.push(shown());
  key($("tab-kernels"), "ArrowLeft"); told.push(shown());
  $("stage").value = $("stage").max; $("stage").dispatchEvent(new Event("input")); told.push($("stage").getAttribute("aria-valuetext"));
  key($("graph"), "ArrowDown"); key($("graph"), "ArrowDown"); told.push(marked("graph") > 0 && marked("source") === 1);
  key($("source"), "ArrowDown"); told.push(marked("source"));
  const row = document.querySelector("#kernel-list tr[tabindex='0']"), first = $("kernel-name").textContent;
  key(row, "ArrowDown"); told.push($("kernel-name").textContent !== first);
  told.push([...document.querySelectorAll("table")].every((t) => t.querySelectorAll("tr[tabindex='0']").length <= 1));
  for (const b of document.querySelectorAll("#kernel-list .sort")) b.click();
  told.push(document.querySelectorAll("#kernel-list [aria-sort=descending]").length);
  $("roof").dispatchEvent(new MouseEvent("mousemove")); told.push(!$("roof-part").hidden);
  document.title = "told " + told.join(" ");
}, 1500))</script>
JS
    timeout 120 "$browser" --headless=new --no-sandbox --disable-gpu --virtual-time-budget=20000 --enable-logging=stderr \
        --user-data-dir="$tmp/browser" --dump-dom "file://$tmp/keys.html" >dom 2>log
    grep -q CONSOLE log && complain "keys: $(grep CONSOLE log | head -3)"
    grep -Eq "<title>told kernels ir [a-z_]+ true 1 true true 1 true</title>" dom || complain "by keyboard: $(grep -o "<title>.*</title>" dom)"
    # nothing is wider than a telephone, in any view, nor in the report of a run: pages that tell their width, in frames 400 wide
    yes "the sea saw the sailor" | head -400 >text.txt
    expect 0 "$MIXC" train "$here/tiny.mix" --data text.txt --steps 3 --out run
    tell='<script>addEventListener("load",()=>setTimeout(()=>parent.postMessage(location.href.replace(/.*\//,"")+" is "+document.documentElement.scrollWidth,"*"),1500))</script>'
    { cat switch.html; echo "$tell"; } >view400.html
    { cat run/report.html; echo "$tell"; } >report400.html
    {
        echo '<!doctype html><pre id=p></pre><script>onmessage=(e)=>{document.getElementById("p").textContent+=e.data+"\n"}</script>'
        for view in view400.html#ir view400.html#kernels view400.html#memory view400.html#routing view400.html#time report400.html; do
            echo "<iframe src=\"file://$tmp/$view\" style=\"width:400px;height:900px;border:0\"></iframe>"
        done
    } >frames.html
    timeout 120 "$browser" --headless=new --no-sandbox --disable-gpu --virtual-time-budget=20000 --enable-logging=stderr --window-size=1400,1000 \
        --user-data-dir="$tmp/browser" --dump-dom "file://$tmp/frames.html" >dom 2>log
    grep -q CONSOLE log && complain "frames: $(grep CONSOLE log | head -3)"
    [ "$(grep -c '.html.* is [0-9]' dom)" = 6 ] || complain "not every page told its width: $(grep -o '[a-z0-9]*.html[^<]* is [0-9]*' dom | tr '\n' ',')"
    grep -oE '[a-z0-9]+\.html[#a-z]* is [0-9]+' dom | awk '$3 > 400 { print; bad = 1 } END { exit !bad }' && complain "wider than the page"
fi
finish
