#!/bin/bash
# Fuzzes the reader of .mix files with libFuzzer under the sanitizers.
#
#   tests/fuzz/run_fuzz.sh [SECONDS]        default 60; new inputs go to build-fuzz/found, crashes to build-fuzz
#
# The corpus tests/fuzz/corpus_mix and the models are where it starts. To keep what was found, minimised:
#   build-fuzz/fuzz_mix -merge=1 tests/fuzz/corpus_mix build-fuzz/found
set -euo pipefail
cd "$(dirname "$0")/../.."
seconds=${1:-60}
out=build-fuzz
mkdir -p "$out/found" "$out/gen"
bison -o "$out/gen/grammar.c" --defines="$out/gen/grammar.h" frontend/grammar.y
flex -o "$out/gen/lexer.c" --header-file="$out/gen/lexer.h" frontend/lexer.l
clang -std=gnu17 -g -O1 -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all \
    -Iir/base -Ifrontend -Itests/fuzz -I"$out/gen" \
    tests/fuzz/fuzz_mix.c frontend/ast*.c frontend/lex_actions.c frontend/tokens.c frontend/syntax_error.c frontend/habits.c \
    "$out/gen/grammar.c" "$out/gen/lexer.c" ir/base/*.c -lm -o "$out/fuzz_mix"
cd "$out"
./fuzz_mix -max_total_time="$seconds" -timeout=2 -rss_limit_mb=512 -max_len=4096 -dict=../tests/fuzz/mix.dict \
    found ../tests/fuzz/corpus_mix ../frontend/std ../tests/frontend/syntax
