#!/bin/bash
# `mixc show` reproduces the parameter counts that a model's first comment gives: "# parameters: N", or "N at size NAME" or "N at
# size NAME of LAYER" as often as there are sizes to tell; further published sizes stand in the table below.
# The design models beside the checkout are counted too when they are there, though not all of them can run yet.
set -u
tests=${MIXC_TESTS:-$(cd "$(dirname "$0")/.." && pwd)}
mixc=${MIXC:-$tests/../build/mixc}
[ -x "$mixc" ] || { echo "no mixc at $mixc"; exit 77; }
bad=0 n=0

count() {   # FILE WANTED [options of show]
    local got
    got=$("$mixc" show "$1" "${@:3}" --json | grep -oE '"parameters": [0-9]+' | grep -oE '[0-9]+')
    [ "$got" = "${2//,/}" ] || { echo "$1 ${*:3}: $got instead of $2"; bad=1; }
    n=$((n + 1))
}

for f in "$tests"/../models/*.mix "${MIXC_SHARED:-$tests/../../shared}"/design/models/*.mix; do
    [ -f "$f" ] || continue
    comment=$(sed -n '2,9{/^#/!q;p}' "$f" | sed 's/^# *//' | tr '\n' ' ')
    counts=${comment#*parameters: }
    [ "$counts" != "$comment" ] || { echo "$f: no count on its first lines"; bad=1; continue; }
    sized=$(grep -oE '[0-9,]+ at size [A-Za-z0-9_]+( of [A-Z][A-Za-z0-9]*)?' <<< "$counts")
    if [ -n "$sized" ]; then
        while read -r wanted _ _ size _ layer; do
            count "$f" "$wanted" --size "$size" ${layer:+--entry "$layer"}
        done <<< "$sized"
    else
        count "$f" "$(grep -oE '^[0-9,]+' <<< "$counts")"
    fi
done

# Other published sizes: Xue et al. 2021, tables 1 to 3 (29, 63, 128 million; 45 and 83 for text); Lan et al. 2019, table 1
# (18 million); Riquelme et al. 2021 (36.5, 296.9, 3446.0, 7160.8, 2688.6 million with the 18,291 classes of JFT); Csordas et al. 2024 (244 million).
while read -r model wanted options; do
    # shellcheck disable=SC2086
    count "$tests/../models/$model.mix" "$wanted" $options
done << 'EOT'
widenet 29691369 --size b
widenet 63343081 --size h
vit_moe 128090089 --size b
vmoe 36465523 --size s32 every=99
vmoe 296895347 --size s32
vmoe 3445959539 --size l16
vmoe 7160836211 --size h14
vmoe 2688648051 --size h14last5
albert 17683968 --size large --entry Encoder
widenet_text 44780544 --size e8 --entry Encoder
widenet_text 82566144 --size e16 --entry Encoder
sut 244521280 --size m244
EOT
[ $n -ge 50 ] || { echo "only $n counts found"; bad=1; }
exit $bad
