#!/bin/bash
# Fuzzes the readers of IR text (graphs, modules and programs) and the evaluator with libFuzzer under the sanitizers.
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
cat > "$out/seeds_ir/small.module" <<'END'
graph @main
axis B = 2, T : time = 3, T' : time = 3 twin T
{
  %1.x = arg "x" : f32[B,T]
  %2.w = param "w" : f32[T,T']
  %3.y = contract %1, %2 {over = [T]}
  loss "train" = %3
}
module {
  want step
  want bf16
  train {optimizer = adam, schedule = cosine, lr = 0.1, beta1 = 0.9, beta2 = 0.99, eps = 1e-08, decay = 0, momentum = 0, nesterov = 0, correct = 1, trust = 1, clip = 1, warmup = 5, steps = 100, start = 0, floor = 0.1, batch = 4, grad_accum = 1, ema = 0, bf16 = 0}
  param "w" trained f32[T,T'] {lr = nan, decay = 0, trust = nan} lower T, T'
  recompute "M.l0"
  claim @main "M.l0" over T {after = 0, leak = 0} [%1] to [%3]
  layer @main "M.l0" %1:%2 %3
}
END
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
./fuzz_ir -max_total_time="$seconds" -timeout=10 -rss_limit_mb=512 -max_len=4096 -dict=../tests/fuzz/ir.dict \
    found_ir seeds_ir
