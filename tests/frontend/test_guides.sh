#!/bin/bash
# The guides of docs/guides do what they say: in one copy of the tree, page after page, their diffs are applied, their files written,
# and their commands run.
#   ```diff            is applied
#   ```LANGUAGE FILE   becomes that file
#   ```sh              runs, and must succeed
set -u
tests=${MIXC_TESTS:-$(cd "$(dirname "$0")/.." && pwd)}
mixc=${MIXC:-$tests/../build/mixc}
command -v patch ninja cmake >/dev/null || { echo "patch, ninja or cmake is missing"; exit 77; }
ldd "$mixc" | grep -q libasan && { echo "not with sanitizers: it builds a tree of its own"; exit 77; }
cd "$tests/.." || exit 1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export MIXC_CACHE_DIR=$work/cache
# Most of the time goes into building the copy; where ccache is installed, into building what is new since the last time.
command -v ccache >/dev/null && export CMAKE_C_COMPILER_LAUNCHER=ccache CCACHE_BASEDIR=$work CCACHE_NOHASHDIR=1
mkdir "$work/tree" "$work/blocks"
cp -r CMakeLists.txt README.md LICENSE frontend ir passes codegen runtime tests models "$work/tree" || exit 1
bad=0 ran=0

for page in docs/guides/add_an_op.md docs/guides/add_a_pass.md docs/guides/add_a_device.md docs/guides/add_a_router_policy.md; do
    rm -f "$work"/blocks/*
    awk -v to="$work/blocks" '
        /^```/ && !inside { split(substr($0, 4), word, " "); inside = 1; n++; file = sprintf("%s/%03d", to, n); printf "" > file
                            print NR, word[1], word[2] > (file ".kind"); close(file ".kind"); next }
        /^```/ && inside { inside = 0; close(file); next }
        inside { print > file }' "$page"
    cd "$work/tree" || exit 1
    for block in "$work"/blocks/???; do
        read -r line kind name <"$block.kind"
        case $kind in
            diff) patch -p1 -s -F2 --no-backup-if-mismatch <"$block" >"$work/log" 2>&1 ;;
            sh) timeout 400 bash -eu -o pipefail "$block" >"$work/log" 2>&1 </dev/null ;;
            *) [ -n "${name:-}" ] && mkdir -p "$(dirname "$name")" && cp "$block" "$name" ;;
        esac || { echo "$page:$line: this block fails:"; cat "$block"; tail -20 "$work/log"; bad=1; break; }
        ran=$((ran + 1))
    done
    cd - >/dev/null || exit 1
    [ $bad = 0 ] || break
done
for page in docs/guides/*.md; do
    grep -q '<!-- every block runs: tests/frontend/test_guides.sh' "$page" || { echo "$page does not say that its blocks run"; bad=1; }
done
echo "$ran blocks"
[ $ran -ge 25 ] || { echo "too few blocks were found"; bad=1; }
exit $bad
