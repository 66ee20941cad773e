#!/bin/bash
# The editors' grammar is JSON and knows every keyword of the language.
set -u
root=$(cd "${MIXC_TESTS:-$(dirname "$0")/..}/.." && pwd)
grammar=$root/docs/editors/mix.tmLanguage.json
if command -v python3 > /dev/null; then
    python3 -m json.tool "$grammar" > /dev/null || exit 1
fi
bad=0
for word in $(grep -oE '\{"[a-z]+", [A-Z]+, (ANYWHERE|OUTSIDE|CLAUSE)\}' "$root/frontend/syntax/tokens.c" | cut -d'"' -f2); do
    grep -qE "[(|]$word[)|]" "$grammar" || { echo "the editors' grammar lacks \`$word\`"; bad=1; }
    grep -qw "$word" "$root/docs/language.md" || { echo "docs/language.md lacks \`$word\`"; bad=1; }
done
exit $bad
