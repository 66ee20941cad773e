#!/usr/bin/env bash
# Training and evaluation speed of a 6-layer GPT (width 384, window 256, batch 16) beside PyTorch's, in one run:
# the two take turns ROUNDS times, and the medians are compared. Prints a table; it is a benchmark, not a test.
#
#   tests/bench/gpt.sh TEXT [ROUNDS]        PYTHON=python3 with torch; MIXC=build/mixc
#
# The peer gets its best settings: as many threads as cores, OpenBLAS told the vector width of the machine (2-core virtual
# machines are often taken for older ones), an allocator that keeps its memory.
set -euo pipefail
cd "$(dirname "$0")/../.."
text=${1:?usage: tests/bench/gpt.sh TEXT [ROUNDS]}
rounds=${2:-3}
mixc=${MIXC:-build/mixc}
python=${PYTHON:-python3}
threads=$(nproc)
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT

sizes=(L=6 D=384 H=6 N=256 train.batch=16 train.eval=1000000 --steps 12 --threads "$threads")
blas=""
grep -qw avx512f /proc/cpuinfo && blas=SKYLAKEX

for ((round = 0; round < rounds; round++)); do
    rm -rf "$out/run"
    /usr/bin/env time -f '{"peak_kib": %M}' -o "$out/time" \
        "$mixc" train models/gpt.mix "${sizes[@]}" --data "$text" --out "$out/run" --progress json >"$out/ours.$round" 2>"$out/err" ||
        { cat "$out/err" >&2; exit 1; }
    cat "$out/time" >>"$out/ours.$round"
    "$mixc" eval "$out/run" --data "$text" --steps 12 --threads "$threads" --json >>"$out/ours.$round"
    OPENBLAS_CORETYPE=$blas OMP_NUM_THREADS=$threads OPENBLAS_NUM_THREADS=$threads MALLOC_MMAP_MAX_=0 \
        MALLOC_TRIM_THRESHOLD_=17179869184 MALLOC_TOP_PAD_=536870912 \
        "$python" tests/bench/gpt_torch.py --steps 12 --threads "$threads" >"$out/theirs.$round"
done
"$python" tests/bench/gpt_table.py "$out" "$rounds"
