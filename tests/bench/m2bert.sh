#!/usr/bin/env bash
# A forward of M2-BERT-base (80M) at 512 to 8192 tokens, one text, beside BERT-base here and BERT-base in eager PyTorch, and the
# M2-BERT once more with products of bf16 numbers; then how the time and the planned memory of one M2 mixer (width 768) grow from
# 1k to 64k tokens: exponents of a straight line through the logarithms. Twenty places are guessed at every length. A benchmark,
# not a test: about four minutes on two idle cores, half of them PyTorch at 8192 tokens.
#
#   tests/bench/m2bert.sh [LONGEST [LONGEST_MIXER [SHORTEST]]]     8192 65536 512; 0: leaves that part out
#   PYTHON=python3 with torch; without one its columns are empty.  MIXC=build/mixc
set -euo pipefail
. "$(dirname "$0")/common.sh"
longest=${1:-$(pick 8192 128)}
mixer=${2:-$(pick 65536 1024)}
shortest=${3:-$(pick 512 128)}
size=$(pick base_80m tiny)

step() { "$mixc" profile "$@" --mode eval B=1 --threads "$threads" | awk '/one step/ {print $1}'; }
m2bert() { step models/m2bert.mix --size $size N="$1" T="$1" --steps 3; }
m2bert_bf16() { step models/m2bert.mix --size $size N="$1" T="$1" --dtype bf16 --steps 3; }
bert() { step models/bert.mix --size $(pick base tiny) N="$1" T="$1" A=20 --steps 2; }
torch_bert() {
    [ -z "$quick" ] || { echo 0; return; }
    OPENBLAS_CORETYPE=$blas OMP_NUM_THREADS=$threads MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=17179869184 \
        "$python" tests/bench/m2bert_torch.py "$1" --threads "$threads" 2>/dev/null || echo 0
}
mixer_time() { step models/m2bert.mix --size $size --entry Mixer N="$1" T="$1" --steps 4; }
mixer_memory() {
    "$mixc" plan models/m2bert.mix --size $size --entry Mixer --mode eval B=1 N="$1" T="$1" --json |
        sed -n 's/.*"peak_bytes": \([0-9]*\).*/\1/p' | head -n 1
}

[ -n "$quick" ] || ( need_torch ) 2>/dev/null || echo "without PyTorch its columns are empty" >&2
printf '%-7s %10s | %10s %6s | %11s %6s | %12s %11s\n' tokens M2-BERT BERT ratio "BERT, torch" ratio "M2-BERT bf16" "torch ratio"
for ((length = shortest; length <= longest; length *= 2)); do
    echo "$length $(m2bert "$length") $(bert "$length") $(torch_bert "$length") $(m2bert_bf16 "$length")" |
        awk '{printf "%-7s %7.0f ms | %7.0f ms %5.2fx | %8.0f ms %5.2fx | %9.0f ms %10.2fx\n", $1, $2, $3, $3/$2, $4, $4/$2, $5, $4/$5}'
done
((mixer)) || exit 0
printf '%-7s %10s %12s\n' tokens mixer memory
for ((length = 1024; length <= mixer; length *= 4)); do
    echo "$length $(mixer_time "$length") $(mixer_memory "$length")"
done | awk '{printf "%-7s %7.1f ms %8.0f MiB\n", $1, $2, $3/1048576
             x = log($1); n++; sx += x; sxx += x*x; t += log($2); xt += x*log($2); m += log($3); xm += x*log($3)}
        END {d = n*sxx - sx*sx; if (n > 1) printf "exponent of the time %.3f, of the memory %.3f\n", (n*xt - sx*t)/d, (n*xm - sx*m)/d}'
