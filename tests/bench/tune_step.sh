#!/bin/bash
# A full search for a training step, from nothing: a GPT of 6 layers (width 384, window 256, batch 16) and a MoEUT. How many kernel
# structures, how long, and the step's time tuned beside untuned, taken in turns: the median of their ratios. A benchmark, not a test.
#
#   tests/bench/tune_step.sh     MIXC=build/mixc  ROUNDS=5  MODELS="gpt moeut"
#                                OUT=FOLDER keeps what was measured: the same command goes on from there
#                                RUN="COMMAND ..": runs each piece (of about a minute), to keep other work away from it
set -eu
. "$(dirname "$0")/common.sh"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
out=${OUT:-$work} && mkdir -p "$out" && out=$(realpath "$out")
run=${RUN:-}

what() {
    case $1 in
        gpt)   echo "models/gpt.mix L=$(pick 6 1) D=$(pick 384 64) H=$(pick 6 2) N=$(pick 256 32) train.batch=$(pick 16 2)" ;;
        moeut) echo "models/moeut.mix --size $(pick laptop tiny) train.batch=$(pick 8 1)" ;;
    esac
}

# A step's seconds, least of a few.
step() {
    MIXC_CACHE_DIR=$cache $run "$mixc" profile $(what "$model") --mode train --steps "$(pick 3 1)" --json -j "$threads" "$@" |
        python3 -c 'import json, sys; told = json.load(sys.stdin); print(told.get("wall_seconds", told["seconds"]))'
}

echo "| model | kernel structures | with a choice | schedules | search, s | step untuned, ms | tuned, ms | tuned/untuned |"
echo "|---|--:|--:|--:|--:|--:|--:|--:|"
for model in ${MODELS:-gpt moeut}; do
    cache=$out/$model && mkdir -p -m 700 "$cache"
    until grep -qs 'have a choice' "$cache/table" && ! grep -q 'goes on from here' "$cache/table"; do
        MIXC_CACHE_DIR=$cache $run bash -c 'date +%s.%N >"$1/began"; "${@:2}" >"$1/table"; date +%s.%N >"$1/ended"' piece "$cache" \
            "$mixc" tune $(what "$model") -j "$threads" --budget "$(pick 35s 2s)" --quiet
        paste "$cache/ended" "$cache/began" | awk '{ print $1 - $2 }' >>"$cache/seconds"
        [ -z "$quick" ] || break
    done
    for _ in $(seq "${ROUNDS:-$(pick 5 1)}"); do
        step --deterministic >>"$cache/plain"
        step >>"$cache/tuned"
    done
    count=$(sed -n 's/^\([0-9]*\) of \([0-9]*\) kernel structures.*/\2 | \1/p' "$cache/table")
    schedules=$(python3 -c "import sqlite3; print(sqlite3.connect('$cache/tuning.db').execute('SELECT count(*) FROM timing').fetchone()[0])")
    ratio=$(paste "$cache/tuned" "$cache/plain" | awk '{ print $1/$2 }' | median)
    echo "| $model | $count | $schedules | $(awk '{ n += $1 } END { printf "%.0f", n }' "$cache/seconds") | $(median <"$cache/plain" | awk '{ printf "%.1f", 1e3*$1 }')" \
        "| $(median <"$cache/tuned" | awk '{ printf "%.1f", 1e3*$1 }') | $(echo "$ratio" | awk '{ printf "%.3f", $1 }') |"
done
