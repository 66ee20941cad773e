#!/usr/bin/env bash
# A routed feed-forward layer of 1024 tokens (width 512), forward and training step, beside PyTorch's: 8 experts of 2048 top 2,
# 64 of 128 top 8, 256 of 128 top 8. The two take turns ROUNDS times; medians are compared. Prints a table; it is a benchmark,
# not a test.
#
#   tests/bench/moe.sh TEXT [ROUNDS]        PYTHON=python3 with torch; MIXC=build/mixc
set -euo pipefail
cd "$(dirname "$0")/../.."
text=$(realpath "${1:?usage: tests/bench/moe.sh TEXT [ROUNDS]}")
rounds=${2:-3}
mixc=${MIXC:-build/mixc}
python=${PYTHON:-python3}
threads=$(nproc)
blas=""
grep -qw avx512f /proc/cpuinfo && blas=SKYLAKEX

ours() { "$mixc" profile tests/bench/moe.mix --size "$1" --mode "$2" --threads "$threads" | awk '/one step/ {print $1}'; }
theirs() {
    OPENBLAS_CORETYPE=$blas OMP_NUM_THREADS=$threads MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=17179869184 \
        "$python" tests/bench/moe_torch.py --experts "$1" --hidden "$2" --choices "$3" --threads "$threads"
}
median() { sort -g | awk '{v[NR] = $1} END {print v[int((NR + 1)/2)]}'; }

printf '%-22s %10s %10s %7s %10s %10s %7s\n' experts forward pytorch ratio training pytorch ratio
for size in "coarse 8 2048 2" "medium 64 128 8" "fine 256 128 8"; do
    read -r name experts hidden choices <<<"$size"
    list=$(mktemp)
    for ((round = 0; round < rounds; round++)); do
        echo "$(ours "$name" eval) $(ours "$name" train) $(theirs "$experts" "$hidden" "$choices")" >>"$list"
    done
    for column in 1 2 3 4; do
        awk -v c=$column '{print $c}' "$list" | median
    done | paste -sd' ' | awk -v name="$experts of $hidden, top $choices" '{
        printf "%-22s %7.1f ms %7.1f ms %6.2fx %7.1f ms %7.1f ms %6.2fx\n", name, $1, $3, $3/$1, $2, $4, $4/$2}'
    rm -f "$list"
done
