#!/bin/bash
# The memory plan of every model, trained and run, at its own size: at most 2 % above the largest set of buffers that are alive
# together, which no plan can go below. Prints the worst. MIXC_ALL_SIZES=1: at each of its sizes; otherwise those that take the longest search.
set -u
tests=${MIXC_TESTS:-$(cd "$(dirname "$0")/.." && pwd)}
mixc=${MIXC:-$tests/../build/mixc}
[ -x "$mixc" ] || { echo "no mixc at $mixc"; exit 77; }
number() { sed -n "s/.*\"$1\": \([0-9]*\).*/\1/p" | head -1; }
bad=0 n=0 worst=0 which=
for file in "$tests"/../models/*.mix; do
    case ${MIXC_ALL_SIZES:+all}$(basename "$file") in
        all*) sizes=$(sed -n 's/^size \([a-z0-9_]*\).*/\1/p' "$file") ;;
        sut.mix) sizes=m244 ;;
        vmoe.mix) sizes=l16 ;;
        moeut.mix) sizes=s244 ;;
        *) sizes= ;;
    esac
    for size in $sizes ""; do
        for mode in train eval; do
            plan=$("$mixc" plan "$file" ${size:+--size "$size"} --mode $mode --json 2>/dev/null) || { echo "$file $size $mode: no plan"; bad=1; continue; }
            peak=$(number peak_bytes <<<"$plan") least=$(number lower_bound_bytes <<<"$plan")
            [ "${least:-0}" -gt 0 ] || { echo "$file $size $mode: the plan says nothing"; bad=1; continue; }
            above=$(((peak - least) * 10000 / least)) n=$((n + 1))
            [ $above -gt $worst ] && worst=$above && which="$(basename "$file") $size $mode"
            [ $above -le 200 ] || { echo "$file $size $mode: $peak bytes, but only $least are ever alive together"; bad=1; }
        done
    done
done
[ $n -ge 60 ] || { echo "only $n plans"; bad=1; }
echo "$n plans; the worst is $((worst / 100)).$(printf %02d $((worst % 100))) % above its largest live set: $which"
exit $bad
