#!/bin/bash
# Cost of a training step against the length of the text: attention and Hyena of docs/tutorials/long_convolutions.md, one
# layer, width 64, one text of T characters a step, one thread. Processor time, not wall time: (many steps - one) / their
# difference.
#   tests/bench/mixers.sh [TEXT]       MIXC=build/mixc
set -eu
. "$(dirname "$0")/common.sh"
need_text "${1:-}"
here=$PWD
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
page=$here/docs/tutorials/long_convolutions.md
sed -n '/^```mix attention.mix/,/^```/p' "$page" | sed '1d;$d' >attention.mix
sed -n '/^```mix hyena.mix/,/^```/p' "$page" | sed '1d;$d' >mixer
awk '/^layer Mixer/ { while ((getline line < "mixer") > 0) print line; skip = 1 } !skip { print } /^}/ { skip = 0 }' attention.mix >hyena.mix

TIMEFORMAT="%U %S"
spent() {   # MODEL T STEPS: seconds of user and system time
    { time "$mixc" train "$1.mix" N="$2" T="$2" L=1 train.batch=1 train.steps="$3" train.eval=1000000 train.save=1000000 \
        --data "$text" --out run -f -j 1 >/dev/null 2>err; } 2>&1 | awk '{ print $1 + $2 }'
}

echo "| T | attention | Hyena | ratio |"
echo "|---|---|---|---|"
for T in $(pick '256 1024 4096 16384' 64); do
    steps=$(pick $((40 * 4096 / T + 2)) 2)
    for model in attention hyena; do
        spent $model $T 1 >/dev/null            # compiles
        one=$(spent $model $T 1) many=$(spent $model $T $((steps + 1)))
        eval "$model=$(awk "BEGIN { print ($many - $one) / $steps * 1e3 }")"
    done
    awk "BEGIN { printf \"| %d | %.2f ms | %.2f ms | %.2f |\\n\", $T, $attention, $hyena, $attention / $hyena }"
done
