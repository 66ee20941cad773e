#!/bin/bash
# The blocks of the pages run. In a folder of its own for each page, which looks like a fresh clone that has been built:
#   ```sh              runs, block after block, and must succeed; trainings take two steps here, whatever --steps says
#   ```mix NAME.mix    becomes that file; so do ```python NAME.py, ```text NAME.txt, ```c NAME.c: any block with a file's name
#   ```python          without a name runs, when NumPy is there; it finds the module mixc
# Other blocks are for reading. docs/command-line.md is the program's own help, whose examples want files of the reader's.
set -u
tests=${MIXC_TESTS:-$(cd "$(dirname "$0")/.." && pwd)}
mixc=$(realpath "${MIXC:-$tests/../build/mixc}")
[ -x "$mixc" ] || { echo "no mixc at $mixc"; exit 77; }
cd "$tests/.." || exit 1
repo=$PWD
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export MIXC_CACHE_DIR=$work/cache MIXC_LIBRARY=$(dirname "$mixc")/libmixc.so PYTHONPATH=$repo/frontend/api/python PYTHONDONTWRITEBYTECODE=1
python=${PYTHON:-/usr/bin/python3}
export PATH=$(dirname "$python"):$PATH
"$python" -c 'import mixc' 2>/dev/null || python=
bad=0 ran=0

# run PAGE BLOCK NUMBER KIND NAME
run() {
    local page=$1 block=$2 kind=$4 name=${5:-}
    if [ -n "$name" ]; then cp "$block" "$name"; return 0; fi
    case $kind in
        sh) timeout 120 bash -eu -o pipefail "$block" >out.log 2>&1 ;;
        python) [ -z "$python" ] || timeout 120 "$python" "$block" >out.log 2>&1 ;;
        *) return 0 ;;
    esac || { echo "$page: block $3 fails:"; cat "$block"; tail -5 out.log; return 1; }
    ran=$((ran + 1))
}

pages=("$@")
[ ${#pages[@]} -gt 0 ] || pages=(README.md docs/*.md docs/*/*.md)
for page in "${pages[@]}"; do
    [ "$page" = docs/command-line.md ] && continue
    grep -q '<!-- every block runs' "$page" && continue         # in their own way: tests/cli/test_tutorials.sh
    data=$(grep -oE '/usr/share/datasets/[a-z-]+' "$page" | head -1)
    [ -z "$data" ] || [ -e "$data" ] || { echo "$page: not without $data"; continue; }
    here=$work/$(echo "$page" | tr / _)
    mkdir -p "$here/build" "$here/blocks"
    ln -s "$repo/models" "$here/models"; ln -s "$repo/frontend" "$here/frontend"; ln -s "$repo/tests" "$here/tests"
    ln -s "$mixc" "$here/build/mixc"
    awk -v to="$here/blocks" '
        /^```/ && !inside { split(substr($0, 4), word, " "); inside = 1; n++; file = sprintf("%s/%03d", to, n); printf "" > file
                            print word[1], word[2] > (file ".kind"); close(file ".kind"); next }
        /^```/ && inside { inside = 0; close(file); next }
        inside { print > file }' "$page"
    cd "$here" || exit 1
    for block in blocks/???; do
        [ -e "$block" ] || continue
        read -r kind name <"$block.kind" || true
        [ "$kind" != sh ] || sed -Ei 's/--steps [0-9]+/--steps 2/' "$block"
        run "$page" "$block" "${block#blocks/}" "$kind" "${name:-}" || { bad=1; break; }
    done
    cd "$repo" || exit 1
done
echo "$ran blocks ran"
[ ${#pages[@]} -lt 5 ] || [ $ran -ge 5 ] || { echo "too few blocks were found"; bad=1; }
exit $bad
