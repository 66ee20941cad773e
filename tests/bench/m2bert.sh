#!/usr/bin/env bash
# A forward of M2-BERT-base (80M) at 512 to 8192 tokens, one text, beside BERT-base here and BERT-base in eager PyTorch; then how
# the forward's time and the planned memory of M2-BERT grow from 1k to 64k tokens (exponents of a straight line through
# the logarithms). Twenty places are guessed at every length. A benchmark, not a test: some minutes.
#
#   tests/bench/m2bert.sh [LONGEST [LONGEST_ALONE]]     8192 65536    PYTHON=python3 with torch; MIXC=build/mixc
set -euo pipefail
cd "$(dirname "$0")/../.."
longest=${1:-8192}
alone=${2:-65536}
mixc=${MIXC:-build/mixc}
python=${PYTHON:-python3}
threads=$(nproc)
blas=""
grep -qw avx512f /proc/cpuinfo && blas=SKYLAKEX

step() { "$mixc" profile "$@" --mode eval B=1 --threads "$threads" --steps 2 | awk '/one step/ {print $1}'; }
m2bert() { step models/m2bert.mix --size base_80m N="$1" T="$1"; }
bert() { step models/bert.mix --size base N="$1" T="$1" A=20; }
torch_bert() {
    OPENBLAS_CORETYPE=$blas OMP_NUM_THREADS=$threads MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=17179869184 \
        "$python" tests/bench/m2bert_torch.py "$1" --threads "$threads"
}
memory() { "$mixc" plan models/m2bert.mix --size base_80m --mode eval B=1 N="$1" T="$1" --json | "$python" -c 'import json, sys; print(json.load(sys.stdin)["peak_bytes"])'; }

printf '%-8s %12s %12s %7s %12s %7s\n' tokens M2-BERT BERT ratio "BERT, torch" ratio
for ((length = 512; length <= longest; length *= 2)); do
    echo "$length $(m2bert "$length") $(bert "$length") $(torch_bert "$length")" |
        awk '{printf "%-8s %9.0f ms %9.0f ms %6.2fx %9.0f ms %6.2fx\n", $1, $2, $3, $3/$2, $4, $4/$2}'
done
for ((length = 1024; length <= alone; length *= 4)); do
    echo "$length $(m2bert "$length") $(memory "$length")"
done | awk '{printf "%-8s %9.0f ms %9.0f MiB\n", $1, $2, $3/1048576
             x = log($1); n++; sx += x; sxx += x*x; t += log($2); xt += x*log($2); m += log($3); xm += x*log($3)}
        END {d = n*sxx - sx*sx; printf "exponent of the time %.3f, of the memory %.3f\n", (n*xt - sx*t)/d, (n*xm - sx*m)/d}'
