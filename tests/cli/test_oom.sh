# No memory: whichever allocation fails, once or from then on, the program says so and leaves with 4 (or goes on where it can
# do without), never with a signal. MIXC_OOM_ALL=1 fails every single one; here a sample, denser at the beginning.
. "$MIXC_TESTS/cli/lib.sh"
if grep -q __asan_init "$MIXC"; then echo "skipped: sanitizers bring their own allocator"; exit 77; fi
cc -std=gnu17 -O1 -shared -fPIC -o fail.so "$MIXC_TESTS/fault/fail_alloc.c" 2>/dev/null || { echo "skipped: no C compiler or glibc"; exit 77; }
LD_PRELOAD=$tmp/fail.so FAIL_ALLOC_COUNT=$tmp/n "$MIXC" --version >/dev/null 2>&1
[ -s n ] || { echo "skipped: the allocator cannot be replaced"; exit 77; }
for i in $(seq 40); do echo "the quick brown fox jumps over the lazy dog and runs"; done >text.txt
model=$here/tiny.mix
tried=0

# judge CODE WHAT: 0 is fine (nobody needed it); else there is a message, and it is about memory
judge() {
    case $1 in
    0) ;;
    4) grep -q -i "memory" err || { complain "exit 4 without a word of memory: $2"; head -3 err >&2; } ;;
    3 | 6) grep -q -i "memory\|allocate" err || { complain "exit $1 for another reason: $2"; head -3 err >&2; } ;;
    *) complain "exit $1: $2"; head -3 err >&2 ;;
    esac
}

# sweep NAME STEP COMMAND..: fails allocation 1, 2, .. with growing gaps
sweep() {
    local name=$1 step=$2 n=1 all code how; shift 2
    LD_PRELOAD=$tmp/fail.so FAIL_ALLOC_COUNT=$tmp/n "$@" >out 2>err </dev/null || { complain "$name fails by itself"; cat err >&2; return; }
    all=$(cat n)
    while [ "$n" -le "$all" ]; do
        for how in once forever; do
            [ -z "${before:-}" ] || $before
            env LD_PRELOAD=$tmp/fail.so FAIL_ALLOC=$n $([ $how = forever ] && echo FAIL_ALLOC_FOREVER=1) timeout 60 "$@" >out 2>err </dev/null
            code=$?
            judge $code "$name, allocation $n of $all $how"
            tried=$((tried + 1))
        done
        n=$((n + (MIXC_OOM_ALL ? 1 : 1 + n / step)))
    done
}
MIXC_OOM_ALL=${MIXC_OOM_ALL:-0}

sweep check 6 "$MIXC" check "$model"
sweep plan 6 "$MIXC" plan "$model" --json
mkdir dump; sweep dump 6 "$MIXC" dump "$model" --after all -o dump
"$MIXC" dump "$model" --after fold -o dump; sweep opt 6 "$MIXC" opt --passes cse dump/02-fold.ir -o o.ir
"$MIXC" emit "$model" --target c -o out.c; sweep emit 5 "$MIXC" emit "$model" --target c -o out.c

# train and run, with kernels from the cache and with a compiler
"$MIXC" train "$model" --data text.txt --out run --steps 2 -q || complain "train fails by itself"
before="rm -rf run2"
sweep train 3 "$MIXC" train "$model" --data text.txt --out run2 --steps 2 -q
before=
sweep generate 3 "$MIXC" generate run -n 4
sweep eval 3 "$MIXC" eval run --steps 1
cat >look.mix <<'EOF'
mix 1
axis B : batch in 1..8, V = 5, D = 2
model Look(tokens: int[B]) -> y: [B,D] {
  param E[V,D]
  y = E[V = tokens]
}
EOF
zeros e.st param.Look.E F32 5,2; zeros t.st input.tokens I32 3
sweep run 4 "$MIXC" run look.mix --weights e.st --inputs t.st --out o.st
expect 0 "$MIXC" run look.mix --weights e.st --inputs t.st --out o.st
echo "$tried failures"
finish
