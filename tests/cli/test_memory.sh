#!/usr/bin/env bash
# The peak of a training run is its plan and little more: neither the compiler's graphs nor copies of parameters are there
# with it. The model is as deep as the one of docs/benchmarks/gpt.md, so its graphs are as large; its numbers are few.
. "$MIXC_TESTS/cli/lib.sh"

case $(head -c 64 /proc/$$/maps 2>/dev/null) in "") echo "skipped: no /proc"; exit 77 ;; esac
if grep -q __asan_init "$MIXC"; then echo "skipped: sanitizers take memory of their own"; exit 77; fi

for i in $(seq 400); do echo "the quick brown fox $i jumps over the lazy dog"; done >text.txt
expect 0 "$MIXC" train "$MIXC_TESTS/../models/gpt.mix" L=6 D=128 H=2 N=128 train.batch=8 --data text.txt --steps 2 --threads 2 \
    --out run
says out "MiB planned"
planned=$(sed -n 's/.*"planned_bytes": \([0-9]*\).*/\1/p' run/run.json)
peak=$(sed -n 's/.*"peak_bytes": \([0-9]*\).*/\1/p' run/run.json)
[ "${planned:-0}" -gt 40000000 ] || complain "planned only ${planned:-nothing}"
most=$((planned + planned / 50 + 16 * 1048576))
[ "${peak:-0}" -gt "${planned:-0}" ] && [ "$peak" -lt "$most" ] || complain "peak ${peak:-none}, planned $planned, at most $most"
echo "planned $planned, peak $peak"
finish
