# What the benchmarks share; each sources it first. MIXC_BENCH_QUICK=1 makes every one of them a matter of seconds: all its parts
# run, on small sizes, and its numbers mean nothing. -h prints what a benchmark measures and what it is given.
#
# Sets: mixc, python (with the peer, see need_torch), threads, blas (what OpenBLAS should be told of the vector width), quick.
case ${1:-} in
    -h | --help) sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"; exit 0 ;;
    -*) echo "$(basename "$0"): there is no option $1; -h says what there is" >&2; exit 2 ;;
esac
came_from=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 2
mixc=$(realpath "${MIXC:-build/mixc}")
build=$(realpath "${BUILD:-$(dirname "$mixc")}")
[ -x "$mixc" ] || { echo "there is no program at $mixc: build it, or say MIXC=.." >&2; exit 2; }
quick=${MIXC_BENCH_QUICK:-}
threads=$(nproc)
blas=""
grep -qw avx512f /proc/cpuinfo && blas=SKYLAKEX
python=${PYTHON:-python3}

pick() { if [ -n "$quick" ]; then echo "$2"; else echo "$1"; fi; }      # pick FULL QUICK
median() { sort -g | awk '{ x[NR] = $1 } END { print NR % 2 ? x[(NR + 1)/2] : (x[NR/2] + x[NR/2 + 1])/2 }'; }

# A Python with PyTorch: PYTHON, or the first that has it. Without one there is nothing to compare with.
need_torch() {
    local p
    for p in ${PYTHON:-python3 /usr/bin/python3}; do
        if "$p" -c 'import torch' 2>/dev/null; then python=$p; return; fi
    done
    echo "not without PyTorch: PYTHON=.. names a Python that has it" >&2
    exit 77
}

# need_program NAME: one of the programs that are built on demand, in $build/tests.
need_program() {
    ninja -C "$build" "$1" >/dev/null 2>&1 && [ -x "$build/tests/$1" ] && return
    echo "not without $build/tests/$1: ninja -C build $1 fails" >&2
    exit 77
}

# need_text [FILE]: sets text to it, or to the King James Bible of Debian's package bible-kjv.
need_text() {
    text=${1:-build/demo/bible.txt}
    [ ! -s "$came_from/$text" ] || text=$came_from/$text
    if [ -z "${1:-}" ] && [ ! -s "$text" ]; then
        command -v bible >/dev/null || { echo "not without a text: $(basename "$0") TEXT, or the package bible-kjv" >&2; exit 77; }
        mkdir -p build/demo && bible -f Gen1:1-Rev22:21 </dev/null | cut -d' ' -f2- >"$text"
    fi
    [ -s "$text" ] || { echo "there is no text $text" >&2; exit 2; }
    text=$(realpath "$text")
}
