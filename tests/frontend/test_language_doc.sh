#!/bin/bash
# Every example of docs/language.md, docs/routing.md, README.md and docs/tutorials is accepted by `mixc check`: blocks marked `mix` as
# they are, blocks marked `mix body` inside the frame that the page gives. Their canonical form is accepted too.
set -u
tests=${MIXC_TESTS:-$(cd "$(dirname "$0")/.." && pwd)}
mixc=${MIXC:-$tests/../build/mixc}
[ -x "$mixc" ] || { echo "no mixc at $mixc"; exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# One file per block, named by the page and the line it begins on.
blocks() { awk -v work="$work" -v page="$1" -v axes="$2" '
    /^```mix body$/ { file = work "/" page NR ".mix"; body = 1; close_body = 1; head(); next }
    /^```mix$/      { file = work "/" page NR ".mix"; close_body = 0; printf "" > file; next }
    /^```/ && file  { if (close_body) print "}\nmodel M(x: [B,T,D], tokens: int[B,T]) -> y: [B,T,D] { y = Example(x, tokens) }" > file
                      close(file); file = ""; next }
    file            { print > file }
    function head() {
        print "mix 1\nuse std.norm\nuse std.attention" > file
        print "axis B : batch in 1..64, T : time in 1..128, D = 64, " axes ", F = 4*D, V = 256" > file
        print "layer Example(x: [B,T,D], tokens: int[B,T]) -> [B,T,D] {" > file
    }' "$tests/../docs/$1.md"; }
blocks language "H = 4, K = D/H"
blocks routing "E : expert = 8, K = 2"
for page in "$tests/../README.md" "$tests"/../docs/tutorials/*.md; do
    awk -v name="$work/$(basename "$page" .md)" '
        /^```mix$/   { file = name NR ".mix"; printf "" > file; next }
        /^```/       { if (file) close(file); file = ""; next }
        file         { print > file }' "$page"
done

bad=0 n=0
for f in "$work"/*.mix; do
    name=$(basename "$f" .mix)
    if ! "$mixc" check --color never "$f" > "$work/out" 2>&1 || grep -q 'error\[' "$work/out"; then
        echo "the example at $name:"
        cat "$work/out"
        bad=1
    fi
    "$mixc" fmt "$f" > /dev/null 2>&1
    if ! "$mixc" check "$f" > /dev/null 2>&1 || ! "$mixc" fmt --check "$f" > /dev/null 2>&1; then
        echo "the example at $name: its canonical form is not accepted"
        bad=1
    fi
    n=$((n + 1))
done
# Every word of the grammar in force stands in the page's grammar.
sed -n '/^## Grammar/,$p' "$tests/../docs/language.md" >"$work/grammar"
for word in $(sed -n '/^%token/,/^$/p' "$tests/../frontend/syntax/grammar.y" | grep -o '`[a-z]*`' | tr -d '`'); do
    grep -qw "$word" "$work/grammar" || { echo "docs/language.md: the grammar lacks \`$word\`"; bad=1; }
done
[ $n -ge 20 ] || { echo "only $n examples were found"; bad=1; }
exit $bad
