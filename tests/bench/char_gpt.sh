#!/usr/bin/env bash
# A character GPT of 4 layers of width 128 on one text, to a validation loss of 1.75 nats: the long way round of the
# README's demonstration. Prints a page with the log and a sample. About five minutes on 2 cores.
#
#   tests/bench/char_gpt.sh [TEXT [STEPS]]       MIXC=build/mixc  PICTURES=FOLDER: puts the curve there, as char_gpt.svg
#   PICTURES=docs/benchmarks tests/bench/char_gpt.sh TEXT >docs/benchmarks/char_gpt.md
set -euo pipefail
. "$(dirname "$0")/common.sh"
need_text "${1:-}"
steps=${2:-$(pick 2000 4)}
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT

begin=$(date +%s)
"$mixc" train models/gpt.mix --size $(pick small tiny) --data "$text" --steps "$steps" --out "$out/run" --progress plain 2>&1 |
    sed "s|$text|TEXT|; s|$out|OUT|" >"$out/log"
seconds=$(($(date +%s) - begin))
[ -z "${PICTURES:-}" ] || cp "$out/run/loss.svg" "$PICTURES/char_gpt.svg"
{
    echo "# A character GPT"
    echo
    echo "\`tests/bench/char_gpt.sh TEXT $steps\`: models/gpt.mix at size small (4 layers, width 128, window 128, batch 32) on a"
    echo "text of $(stat -c %s "$text") bytes; $(nproc) cores, $(grep -m1 'model name' /proc/cpuinfo | cut -d: -f2 | xargs), $seconds s in all."
    echo
    [ -z "${PICTURES:-}" ] || { echo "![loss over steps](char_gpt.svg)"; echo; }
    echo '```text'
    grep -E '^(data|model)|  val ' "$out/log"
    echo '```'
    echo
    echo "A sample:"
    echo
    echo '```text'
    "$mixc" generate "$out/run" -p "ROMEO:" -n $(pick 400 20) --seed 1
    echo
    echo '```'
}
