#!/usr/bin/env bash
# A Monarch product of 1024 = 32 x 32 features beside PyTorch's bmm, transpose, bmm, for 512 to 8192 rows. They take turns ROUNDS
# times; medians are compared. A benchmark, not a test: seconds.
#
#   tests/bench/monarch.sh [ROUNDS]        PYTHON=python3 with torch; MIXC=build/mixc
set -euo pipefail
. "$(dirname "$0")/common.sh"
need_torch
rounds=${1:-$(pick 3 1)}

printf '%-8s %12s %12s %7s\n' rows Monarch "bmm, bmm" ratio
for rows in $(pick '512 2048 8192' 64); do
    list=$(mktemp)
    for ((round = 0; round < rounds; round++)); do
        ours=$("$mixc" profile tests/bench/monarch.mix --mode eval B=$rows --threads "$threads" --steps 9 | awk '/one step/ {print $1}')
        theirs=$(OPENBLAS_CORETYPE=$blas OMP_NUM_THREADS=$threads MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=17179869184 \
            "$python" tests/bench/monarch_torch.py $rows --threads "$threads")
        echo "$ours $theirs" >>"$list"
    done
    echo "$rows $(awk '{print $1}' "$list" | median) $(awk '{print $2}' "$list" | median)" |
        awk '{printf "%-8s %9.2f ms %9.2f ms %6.2fx\n", $1, $2, $3, $3/$2}'
    rm -f "$list"
done
