#!/bin/bash
# Fuzzes the reader of safetensors files with libFuzzer under the sanitizers.
#
#   tests/fuzz/run_fuzz_safetensors.sh [SECONDS]     default 60; new inputs go to build-fuzz/found_st, crashes to build-fuzz
#
# To keep what was found, minimised: build-fuzz/fuzz_safetensors -merge=1 tests/fuzz/corpus_safetensors build-fuzz/found_st
set -euo pipefail
cd "$(dirname "$0")/../.."
seconds=${1:-60}
out=build-fuzz
mkdir -p "$out/found_st"
clang -std=gnu17 -g -O1 -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all -Iir -Iir/base -Iruntime \
    tests/fuzz/fuzz_safetensors.c runtime/safetensors.c runtime/safetensors_convert.c ir/tables.c ir/base/*.c \
    -ljansson -lm -o "$out/fuzz_safetensors"
cd "$out"
./fuzz_safetensors -max_total_time="$seconds" -timeout=10 -rss_limit_mb=512 -max_len=4096 \
    -dict=../tests/fuzz/safetensors.dict found_st ../tests/fuzz/corpus_safetensors
