# The reference in docs/command-line.md is what the program says of itself; MIXC_UPDATE=1 rewrites it.
. "$MIXC_TESTS/cli/lib.sh"
page=$MIXC_TESTS/../docs/command-line.md
"$MIXC" help markdown >reference || complain "help markdown"
awk -v reference=reference '
    { if (!inside) print }
    /^<!-- verbs:/ { inside = 1; print ""; while ((getline line < reference) > 0) print line; print "" }
    /^<!-- end of verbs -->/ { inside = 0; print }' "$page" >fresh
if [ "${MIXC_UPDATE:-}" = 1 ]; then cp fresh "$page"; fi
diff "$page" fresh >&2 || complain "docs/command-line.md is stale: MIXC_UPDATE=1 rewrites it"
finish
