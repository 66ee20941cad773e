#!/bin/bash
# Fuzzes the reader of .mix files with libFuzzer under the sanitizers.
#
#   tests/fuzz/run_fuzz.sh [SECONDS]      default 60; crashes go to build-fuzz, new inputs to build-fuzz/found
#   tests/fuzz/run_fuzz.sh --keep         adds what was found, minimised and short, to tests/fuzz/corpus_mix.b64
#
# It starts from tests/fuzz/corpus_mix, the models, and corpus_mix.b64: one input a line, because hundreds of them have
# only a few dozen bytes each.
set -euo pipefail
cd "$(dirname "$0")/../.."
out=build-fuzz
mkdir -p "$out/found" "$out/gen" "$out/seed"
bison -o "$out/gen/grammar.c" --defines="$out/gen/grammar.h" frontend/syntax/grammar.y
flex -o "$out/gen/lexer.c" --header-file="$out/gen/lexer.h" frontend/syntax/lexer.l
clang -std=gnu17 -g -O1 -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all \
    -Iir/base -Ifrontend/syntax -Ifrontend/elaborate -Itests/fuzz -I"$out/gen" \
    tests/fuzz/fuzz_mix.c frontend/syntax/ast*.c frontend/syntax/lex_actions.c frontend/syntax/tokens.c frontend/syntax/syntax_error.c \
    frontend/syntax/habits.c "$out/gen/grammar.c" "$out/gen/lexer.c" ir/base/*.c -lm -o "$out/fuzz_mix"
n=0
while read -r line; do
    printf '%s' "$line" | base64 -d > "$out/seed/$((n++))"
done < tests/fuzz/corpus_mix.b64
cd "$out"
if [ "${1:-}" = --keep ]; then
    rm -rf kept
    mkdir kept
    ./fuzz_mix -merge=1 -max_len=160 kept seed found
    for f in kept/*; do base64 -w0 "$f"; echo; done | LC_ALL=C sort > ../tests/fuzz/corpus_mix.b64
else
    ./fuzz_mix -max_total_time="${1:-60}" -timeout=10 -rss_limit_mb=512 -max_len=4096 -dict=../tests/fuzz/mix.dict \
        found seed ../tests/fuzz/corpus_mix ../frontend/std ../models ../tests/frontend/syntax
fi
