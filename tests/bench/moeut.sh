#!/usr/bin/env bash
# MoEUT beside the dense Transformer of as many parameters that its authors compare it with (size laptop of models/moeut.mix and
# models/moeut_dense.mix): multiply-adds of a forward pass, and training steps that take turns. A benchmark, not a test; a minute.
#
#   tests/bench/moeut.sh [ROUNDS]        MIXC=build/mixc BATCH=8
set -euo pipefail
. "$(dirname "$0")/common.sh"
rounds=${1:-$(pick 5 1)} batch=${BATCH:-$(pick 8 1)} size=$(pick laptop tiny)
work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT

# Multiply-adds of the products, in billions.
products() {
    "$mixc" dump "models/$1.mix" --size $size --mode eval "train.batch=$batch" --after codegen -o "$work/$1" > "$work/log"
    awk '/^kernel %/ { family[$2] = $5 }
         /^launch %/ && family[$2] ~ /contract|grouped|rows|route/ { for (i = 1; i < NF; i++) if ($i == "flops") n += $(i + 1)/2e9 }
         END { print n }' "$work/$1"/*codegen.ir
}

step() {
    "$mixc" profile "models/$1.mix" --size $size --mode train "train.batch=$batch" --steps 3 --json "${@:2}" |
        python3 -c 'import json, sys; told = json.load(sys.stdin); print(1e3*told.get("wall_seconds", told["seconds"]))'
}

sparse=$(products moeut) dense=$(products moeut_dense)
for dtype in $(pick 'f32 bf16' f32); do
    for _ in $(seq "$rounds"); do
        step moeut --dtype $dtype >> "$work/moeut.$dtype"
        step moeut_dense --dtype $dtype >> "$work/dense.$dtype"
    done
    a=$(median < "$work/moeut.$dtype") b=$(median < "$work/dense.$dtype")
    awk -v a="$a" -v b="$b" -v s="$sparse" -v d="$dense" -v t=$dtype 'BEGIN {
        printf "%-4s  MoEUT %.2f G multiply-adds, %.1f ms a training step; dense %.2f G, %.1f ms: work %.2f, time %.2f\n", t, s, a, d, b, s/d, a/b }'
done
