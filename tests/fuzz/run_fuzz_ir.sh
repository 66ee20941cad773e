#!/bin/bash
# Fuzzes the readers of IR text (graphs and programs) and the evaluator with libFuzzer under the sanitizers.
#
#   tests/fuzz/run_fuzz_ir.sh [SECONDS]     default 60; new inputs go to build-fuzz/found_ir, crashes to build-fuzz
#
# It starts from the graphs in tests/ops and from a small program.
set -euo pipefail
cd "$(dirname "$0")/../.."
seconds=${1:-60}
out=build-fuzz
mkdir -p "$out/found_ir" "$out/seeds_ir"
clang -std=gnu17 -g -O1 -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all -Iir -Iir/base \
    tests/fuzz/fuzz_ir.c ir/*.c ir/base/*.c -lm -o "$out/fuzz_ir"
for f in tests/ops/*.ir; do
    sed '/^}/q' "$f" > "$out/seeds_ir/$(basename "$f")"
done
cat > "$out/seeds_ir/small.program" <<'END'
program "p" arena 128 live 64
prelude
  | #include <math.h>
cuda_prelude
buffer %1 "x" : input f32[B = 2] bytes 8
buffer %2 "output.y" : output f32[B = 2] bytes 8 offset 64 same %1 value %2
kernel %1 f : loop params 2 writes [1] scratch 64
  | void f(void) { }
  cuda
  ! x
launch %1 [%1, %2] work 2 grain 1 flops 2 bytes 16 layer "L"
end
END
cd "$out"
./fuzz_ir -max_total_time="$seconds" -timeout=2 -rss_limit_mb=512 -max_len=4096 -dict=../tests/fuzz/ir.dict \
    found_ir seeds_ir
