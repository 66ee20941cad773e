#!/bin/bash
# `mixc show` reproduces the parameter count that a model's first lines give: "# parameters: N" or "... N at size NAME".
# The design models beside the checkout are counted too when they are there, though not all of them can run yet.
set -u
tests=${MIXC_TESTS:-$(cd "$(dirname "$0")/.." && pwd)}
mixc=${MIXC:-$tests/../build/mixc}
[ -x "$mixc" ] || { echo "no mixc at $mixc"; exit 77; }
bad=0 n=0
for f in "$tests"/../models/*.mix "${MIXC_SHARED:-$tests/../../shared}"/design/models/*.mix; do
    [ -f "$f" ] || continue
    line=$(head -3 "$f" | grep -m1 '^# parameters:') || { echo "$f: no count on its first lines"; bad=1; continue; }
    wanted=$(sed -E 's/^# parameters: ([0-9,]+).*/\1/; s/,//g' <<< "$line")
    size=$(sed -nE 's/.* at size ([A-Za-z0-9_]+).*/\1/p' <<< "$line")
    got=$("$mixc" show "$f" ${size:+--size "$size"} --json | grep -oE '"parameters": [0-9]+' | grep -oE '[0-9]+')
    [ "$got" = "$wanted" ] || { echo "$f: $got instead of $wanted"; bad=1; }
    n=$((n + 1))
done
[ $n -ge 7 ] || { echo "only $n models found"; bad=1; }
exit $bad
