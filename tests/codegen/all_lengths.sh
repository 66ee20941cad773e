#!/usr/bin/env bash
# Long convolutions (causal, both ways, circular) of every length from 1 to 700 and of a fixed sample up to 2^20 - primes, powers of two
# and their neighbours, products of small primes - against transforms in double precision. Prints the worst relative error;
# fails beyond 1e-5. It takes some minutes, so it is not one of the tests.
#
#   tests/codegen/all_lengths.sh [BUILD]
set -euo pipefail
cd "$(dirname "$0")/../.."
build=${1:-build}
powers=$(for ((p = 1024; p <= 1048576; p *= 2)); do echo $((p - 1)) $p $((p == 1048576 ? p : p + 1)); done)
others="997 1009 1536 2187 3125 4093 5040 6561 7777 10007 15625 30030 46656 65521 99991 177147 262139 390625 510510 524287 720720 823543 999983 1048573"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
MIXC_TEST_LENGTHS="$(seq 1 700) $powers $others" "$build/tests/test_conv" 2>&1 | tee "$log" | grep -E "FAILED|ERROR|relative" || true
grep -E "^[0-9]+ (causal|both|circular)" "$log" | sort -g -k3 | awk '{n++; worst = $3; at = $1 " " $2} END {print n " convolutions, worst relative error " worst " at " at}'
! grep -q "FAILED" "$log"
