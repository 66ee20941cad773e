# docs/command-line.md and docs/reference/*.md are what the program says of itself; MIXC_UPDATE=1 rewrites them.
. "$MIXC_TESTS/cli/lib.sh"
docs=$MIXC_TESTS/../docs

# compare PAGE: ./fresh is what it should be
compare() {
    if [ "${MIXC_UPDATE:-}" = 1 ]; then cp fresh "$1"; fi
    diff "$1" fresh >&2 || complain "${1#"$MIXC_TESTS/../"} is stale: MIXC_UPDATE=1 rewrites it"
}

"$MIXC" help markdown >reference || complain "help markdown"
awk -v reference=reference '
    { if (!inside) print }
    /^<!-- verbs:/ { inside = 1; print ""; while ((getline line < reference) > 0) print line; print "" }
    /^<!-- end of verbs -->/ { inside = 0; print }' "$docs/command-line.md" >fresh
compare "$docs/command-line.md"

mkdir -p "$docs/reference"
for word in ops passes diagnostics knobs; do
    "$MIXC" help $word >fresh || complain "help $word"
    [ "$(wc -l <fresh)" -gt 15 ] || complain "help $word says little"
    compare "$docs/reference/$word.md"
done
for page in "$docs"/reference/*.md; do
    "$MIXC" help "$(basename "$page" .md)" >/dev/null 2>&1 || complain "nothing writes $page"
done
finish
