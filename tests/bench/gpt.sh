#!/usr/bin/env bash
# Training and evaluation speed of a 6-layer GPT (width 384, window 256, batch 16) beside PyTorch's, in one run:
# the two take turns ROUNDS times, and the medians are compared. Prints a table; it is a benchmark, not a test.
#
#   tests/bench/gpt.sh [TEXT [ROUNDS]]        PYTHON=python3 with torch; MIXC=build/mixc
#
# The peer gets its best settings: as many threads as cores, OpenBLAS told the vector width of the machine (2-core virtual
# machines are often taken for older ones), an allocator that keeps its memory.
set -euo pipefail
. "$(dirname "$0")/common.sh"
need_text "${1:-}"
need_torch
rounds=${2:-$(pick 3 1)}
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT

steps=$(pick 12 4)
sizes=(L=$(pick 6 1) D=$(pick 384 64) H=$(pick 6 2) N=$(pick 256 32) train.batch=$(pick 16 2) train.eval=1000000 --steps "$steps" --threads "$threads")
peer=(--steps "$steps" --threads "$threads")
[ -z "$quick" ] || peer+=(--layers 1 --width 64 --heads 2 --window 32 --batch 2)

for ((round = 0; round < rounds; round++)); do
    rm -rf "$out/run"
    /usr/bin/env time -f '{"peak_kib": %M}' -o "$out/time" \
        "$mixc" train models/gpt.mix "${sizes[@]}" --data "$text" --out "$out/run" --progress json >"$out/ours.$round" 2>"$out/err" ||
        { cat "$out/err" >&2; exit 1; }
    cat "$out/time" >>"$out/ours.$round"
    "$mixc" eval "$out/run" --data "$text" --steps "$steps" --threads "$threads" --json >>"$out/ours.$round"
    OPENBLAS_CORETYPE=$blas OMP_NUM_THREADS=$threads OPENBLAS_NUM_THREADS=$threads MALLOC_MMAP_MAX_=0 \
        MALLOC_TRIM_THRESHOLD_=17179869184 MALLOC_TOP_PAD_=536870912 \
        "$python" tests/bench/gpt_torch.py "${peer[@]}" >"$out/theirs.$round"
done
"$python" tests/bench/gpt_table.py "$out" "$rounds"
