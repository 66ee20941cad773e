#!/bin/bash
# What README.md and docs/ point at exists: links, their anchors, and files of this repository that are named in the text.
# The commands of README.md's "Look around" run as they are written. (The models in the pages: test_language_doc.sh.)
set -u
tests=${MIXC_TESTS:-$(cd "$(dirname "$0")/.." && pwd)}
mixc=${MIXC:-$tests/../build/mixc}
[ -x "$mixc" ] || { echo "no mixc at $mixc"; exit 77; }
cd "$tests/.." || exit 1
bad=0

# The text of a page without its code blocks.
prose() { awk '/^ *```/ { code = !code; next } !code && !/^    /' "$1"; }

# The anchors of a page: headings in lower case, blanks as hyphens, punctuation dropped.
anchors() { sed -n 's/^##* //p' "$1" | tr '[:upper:]' '[:lower:]' | sed 's/[^a-z0-9 _-]//g; s/ /-/g'; }

for page in README.md docs/*.md docs/*/*.md; do
    while read -r link; do
        case $link in http*) continue ;; esac
        file=${link%%#*} target=$page
        if [ -n "$file" ]; then
            target=$(dirname "$page")/$file
            [ -e "$target" ] || { echo "$page: the link to $link leads nowhere"; bad=1; continue; }
        fi
        case $link in
            *.md\#* | \#*) anchors "$target" | grep -qx -- "${link#*#}" || { echo "$page: $target has no heading for $link"; bad=1; } ;;
        esac
    done < <(prose "$page" | sed 's/`[^`]*`/code/g' | grep -oE '\]\([^) ]+\)' | sed 's/^](//; s/)$//' | sort -u)
    while read -r path; do
        case $path in *NAME* | *PASS*) continue ;; esac         # a pattern
        compgen -G "$path" > /dev/null || { echo "$page: there is no $path"; bad=1; }
    done < <(prose "$page" | grep -oE '`(frontend|ir|passes|codegen|runtime|models|tests|docs)/[A-Za-z0-9_./*-]*`' | tr -d '`' | sort -u)
done

# Every layer of the libraries stands in the table of docs/language.md.
for file in frontend/std/*.mix; do
    for layer in $(sed -n 's/^layer \([A-Za-z0-9]*\).*/\1/p' "$file"); do
        grep -qF "| \`std.$(basename "$file" .mix)\` | \`$layer[" docs/language.md \
            || { echo "docs/language.md: \`$layer\` of $file is missing under Libraries"; bad=1; }
    done
done

# In a folder of its own, which looks like a fresh clone that has been built.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/build"
export MIXC_CACHE_DIR=$work/cache
ln -s "$PWD/models" "$work/models"
ln -s "$(realpath "$mixc")" "$work/build/mixc"
n=0
while read -r line; do
    (cd "$work" && eval "$line") > "$work/out" 2>&1 || { echo "README.md: this fails: $line"; head -5 "$work/out"; bad=1; }
    n=$((n + 1))
done < <(sed -n 's|^    \(build/mixc [^#]*\).*|\1|p' README.md)
[ $n -ge 5 ] || { echo "README.md: only $n commands were found"; bad=1; }
exit $bad
