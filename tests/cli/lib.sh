# What the tests of the command line share: a scratch folder, expectations, and small safetensors files.
set -u
MIXC=${MIXC:?the program under test}
here=$MIXC_TESTS/cli
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
export MIXC_CACHE_DIR=$tmp/cache
mkdir -m 700 "$MIXC_CACHE_DIR"
cd "$tmp" || exit 1
failed=0

complain() { echo "FAIL: $*" >&2; failed=1; }

# expect CODE COMMAND..: runs with output in $tmp/out and $tmp/err.
expect() {
    local code=$1; shift
    "$@" >out 2>err </dev/null
    local got=$?
    if [ $got != "$code" ]; then complain "exit $got, not $code: $*"; head -20 err >&2; fi
}

# says FILE TEXT: the file has the text.
says() { grep -qF -- "$2" "$1" || { complain "$1 lacks: $2"; head -20 "$1" >&2; }; }
says_not() { ! grep -qF -- "$2" "$1" || complain "$1 has: $2"; }
empty() { [ ! -s "$1" ] || { complain "$1 is not empty"; head -5 "$1" >&2; }; }

# zeros FILE NAME DTYPE SHAPE ..: a safetensors file of zeros, 4 bytes an element: zeros i.st input.x F32 2,9,12
zeros() {
    local file=$1; shift
    local header="" at=0
    while [ $# -gt 0 ]; do
        local n=4 size
        for size in ${3//,/ }; do n=$((n * size)); done
        header+="${header:+,}\"$1\":{\"dtype\":\"$2\",\"shape\":[$3],\"data_offsets\":[$at,$((at + n))]}"
        at=$((at + n))
        shift 3
    done
    header="{$header}"
    local len=${#header} i bytes=""
    for i in 0 8 16 24 32 40 48 56; do bytes+=$(printf '\\x%02x' $(((len >> i) & 255))); done
    { printf "$bytes"; printf '%s' "$header"; head -c $at /dev/zero; } >"$file"
}

finish() { [ $failed = 0 ] && echo ok; exit $failed; }
