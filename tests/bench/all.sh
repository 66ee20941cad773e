#!/usr/bin/env bash
# Every benchmark, one after the other, each into a file of its own: tables of what is reached and what is missed, losers shown too.
# Takes hours on two idle cores. What has run is not run again, so a run that was stopped goes on; remove a file to repeat it.
#
#   tests/bench/all.sh FOLDER [NAME..]      MIXC=build/mixc   LIMIT=3600 seconds for each; NAME: only these, without .sh
#   MIXC_BENCH_QUICK=1: each in seconds, to see that it works; its numbers mean nothing
set -uo pipefail
. "$(dirname "$0")/common.sh"
here=$PWD/tests/bench
out=${1:?a folder for the tables}
shift
mkdir -p "$out" && out=$(realpath "$out")
export MIXC=$mixc PICTURES=$out
failed=0

# once NAME COMMAND..: FOLDER/NAME.md, whole or not at all. A benchmark whose peer is not installed says so and is no failure.
once() {
    local name=$1 code
    shift
    if [ -f "$out/$name.md" ]; then
        echo "$name: there"
        return
    fi
    local begin=$SECONDS
    timeout "${LIMIT:-3600}" "$@" >"$out/$name.part" 2>"$out/$name.log"
    code=$?
    case $code in
        0)  { echo "<!-- $(date -u +%F), $("$MIXC" --version | head -1), $(nproc) processors${quick:+, a quick form whose numbers mean nothing}: $* -->" | sed "s|$PWD/||g"; cat "$out/$name.part"; } >"$out/$name.new"
            mv "$out/$name.new" "$out/$name.md"; echo "$name: $((SECONDS - begin)) s" ;;
        77) echo "$name: skipped: $(head -1 "$out/$name.log")" ;;
        124) echo "$name: not done in ${LIMIT:-3600} s"; failed=1 ;;
        *)  echo "$name: exit $code, see $out/$name.log"; failed=1 ;;
    esac
    rm -f "$out/$name.part"
}

wanted() {                                  # NAME among the names asked for, or none were
    local name
    [ ${#names[@]} = 0 ] && return 0
    for name in "${names[@]}"; do [ "$name" = "$1" ] && return 0; done
    return 1
}
names=("$@")

for script in "$here"/*.sh; do
    name=$(basename "$script" .sh)
    [ "$name" != all ] && [ "$name" != common ] && wanted "$name" && once "$name" bash "$script"
done
# The models themselves: forward, training step, generation and their costliest kernels, beside the machine's ceilings.
for model in gpt moeut switch m2bert hyena vit; do
    wanted "bench_$model" && once "bench_$model" "$MIXC" bench "models/$model.mix" --deterministic --kernels $(pick 20 "2 --size tiny --seconds 0.02") -o -
done
{
    echo "| table | what |"
    echo "|---|---|"
    for table in "$out"/*.md; do
        name=$(basename "$table" .md)
        [ "$name" = index ] && continue
        what="mixc bench models/${name#bench_}.mix"
        [ -f "$here/$name.sh" ] && what=$(sed -n '2,/^#$/s/^# //p' "$here/$name.sh" | tr '\n' ' ' | sed 's/[.:] .*//')
        echo "| [$name]($name.md) | $what |"
    done
} >"$out/index.new" && mv "$out/index.new" "$out/index.md"
exit $failed
