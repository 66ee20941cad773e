#!/usr/bin/env bash
# A gated long convolution with a skip, 256 channels, of length 256 to 16384: forward, and forward with all gradients, beside
# PyTorch's torch.fft (tuned: SKYLAKEX kernels where the machine has AVX-512, all threads, contiguous rows, memory kept)
# and, forward, beside FFTW with a schedule fused by rows. They take turns ROUNDS times; medians are compared. A benchmark,
# not a test: about two minutes on an idle machine.
#
#   tests/bench/longconv.sh [ROUNDS [processor]]       PYTHON=python3 with torch; BUILD=build
#
# With "processor" every side has one thread and its processor time counts: for a machine that is busy with other work.
set -euo pipefail
. "$(dirname "$0")/common.sh"
need_torch
need_program bench_longconv
rounds=${1:-$(pick 3 1)}
processor=${2:-}
sizes=("4 256" "4 512" "4 1024" "4 2048" "4 4096" "4 8192" "2 16384")
[ -z "$quick" ] || sizes=("4 256")

theirs() {
    OPENBLAS_CORETYPE=$blas OMP_NUM_THREADS=$threads MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=17179869184 \
        MALLOC_TOP_PAD_=536870912 "$python" tests/bench/longconv_torch.py "$1" "$2" --threads "$threads" ${processor:+--processor}
}

printf '%-12s %10s %10s %7s %10s %7s %12s %10s %7s\n' "rows length" forward torch.fft ratio FFTW ratio training torch.fft ratio
for size in "${sizes[@]}"; do
    read -r rows length <<<"$size"
    list=$(mktemp)
    for ((round = 0; round < rounds; round++)); do
        echo "$("$build/tests/bench_longconv" "$rows" "$length" 9 $processor) $(theirs "$rows" "$length")" >>"$list"
    done
    for column in 1 2 3 4 5; do
        awk -v c=$column '{print $c}' "$list" | median
    done | paste -sd' ' | awk -v name="$rows x $length" '{
        printf "%-12s %7.2f ms %7.2f ms %6.1fx %7.2f ms %6.2fx %9.2f ms %7.2f ms %6.1fx\n", name, $1, $4, $4/$1, $3, $3/$1, $2, $5, $5/$2}'
    rm -f "$list"
done
