# A memory budget is kept by computing layers again, and refused with exit code 4 where nothing more can be gained.
set -u
model="$MIXC_TESTS/../models/gpt.mix"
peak() { "$MIXC" plan "$model" --size tiny L=6 --json "$@" | sed -n 's/.*"peak_bytes": \([0-9]*\).*/\1/p' | head -1; }
fail() { echo "$*" >&2; exit 1; }

all=$(peak) || fail "no plan"
[ "$all" -gt 0 ] || fail "no peak in the plan"
for percent in 95 90 85; do
    budget=$((all * percent / 100))
    some=$(peak --max-mem "$budget") || fail "a budget of $percent % was refused"
    [ "$some" -le "$budget" ] || fail "asked for $budget bytes, the plan has $some of $all"
done
"$MIXC" plan "$model" --size tiny L=6 --max-mem 100000 >/dev/null 2>err.$$
code=$?
message=$(cat err.$$); rm -f err.$$
[ "$code" = 4 ] || fail "a budget of 100 kB: exit code $code"
case "$message" in *"the plan needs"*) ;; *) fail "a budget of 100 kB: $message" ;; esac
echo ok
