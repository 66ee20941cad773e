#!/usr/bin/env bash
# What a token of generated text costs, by steps and by computing the whole window: GPTs, and models of long convolutions at
# windows of 1024 to 16384. Random weights; medians of ROUNDS. A benchmark, not a test: a few minutes on an idle machine.
#
#   tests/bench/generate.sh [ROUNDS [processor]]       BUILD=build
#
# With "processor" one thread works and its processor time counts: for a machine that is busy with other work.
set -euo pipefail
. "$(dirname "$0")/common.sh"
need_program bench_generate
rounds=${1:-$(pick 3 1)}
processor=${2:-}
bench=$build/tests/bench_generate

# measure COLUMN ARGUMENTS..: the median of one of bench_generate's numbers
measure() {
    local column=$1
    shift
    for ((i = 0; i < rounds; i++)); do "$bench" "$@" $processor; done |
        awk -v c="$column" '{print $c}' | sort -g | awk '{v[NR] = $1} END {print v[int((NR + 1)/2)]}'
}

# row NAME MODEL PROMPT TOKENS WHOLE_TOKENS BINDINGS..: mean of a step, of a whole window, and the caches
row() {
    local name=$1 model=$2 prompt=$3 tokens=$4 whole=$5
    shift 5
    local step window cache
    step=$(measure 2 "models/$model.mix" steps "$prompt" "$tokens" "$@")
    cache=$(measure 4 "models/$model.mix" steps "$prompt" 2 "$@")
    window=$(measure 2 "models/$model.mix" whole "$prompt" "$whole" "$@")
    awk -v n="$name" -v s="$step" -v w="$window" -v c="$cache" 'BEGIN {
        printf "| %-26s | %9.3f | %9.0f | %10.3f | %6.0fx | %8.1f |\n", n, s, 1000/s, w, w/s, c/1024 }'
}

echo "| model                      | ms a token | tokens/s | window, ms | faster | caches, MiB |"
echo "|---|---|---|---|---|---|"
row "gpt small, 128"    gpt 64  60  20 size=small
[ -z "$quick" ] || exit 0
row "gpt medium, 256"   gpt 128 100 6  size=medium
row "gpt gpt2, 1024"    gpt 512 20  3  size=gpt2
for T in 1024 2048 4096 8192 16384; do
    row "hyena, $T" hyena $((T/4)) 2000 3 "N=$T"
done
for T in 1024 2048 4096 8192 16384; do
    row "m2gpt, $T" m2gpt $((T/4)) 2000 3 "N=$T"
done
