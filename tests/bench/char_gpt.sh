#!/usr/bin/env bash
# A character GPT of 4 layers of width 128 on one text, to a validation loss of 1.75 nats: the long way round of the
# README's demonstration. Writes the log, the curve and a sample into docs/benchmarks. About five minutes on 2 cores.
#
#   tests/bench/char_gpt.sh TEXT [STEPS]       MIXC=build/mixc
set -euo pipefail
cd "$(dirname "$0")/../.."
text=${1:?usage: tests/bench/char_gpt.sh TEXT [STEPS]}
steps=${2:-2000}
mixc=${MIXC:-build/mixc}
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT

begin=$(date +%s)
"$mixc" train models/gpt.mix --size small --data "$text" --steps "$steps" --out "$out/run" --progress plain 2>&1 |
    sed "s|$text|TEXT|; s|$out|OUT|" | tee "$out/log"
seconds=$(($(date +%s) - begin))
cp "$out/run/loss.svg" docs/benchmarks/char_gpt.svg
{
    echo "# A character GPT"
    echo
    echo "\`tests/bench/char_gpt.sh TEXT $steps\`: models/gpt.mix at size small (4 layers, width 128, window 128, batch 32) on a"
    echo "text of $(stat -c %s "$text") bytes; $(nproc) cores, $(grep -m1 'model name' /proc/cpuinfo | cut -d: -f2 | xargs), $seconds s in all."
    echo
    echo "![loss over steps](char_gpt.svg)"
    echo
    echo '```text'
    grep -E '^(data|model)|  val ' "$out/log"
    echo '```'
    echo
    echo "A sample:"
    echo
    echo '```text'
    "$mixc" generate "$out/run" -p "ROMEO:" -n 400 --seed 1
    echo
    echo '```'
} >docs/benchmarks/char_gpt.md
