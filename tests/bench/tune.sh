#!/bin/bash
# How good schedules are without a search, and after timing eight candidates, against the best of a wide search: more than 30 kernels
# of all families that have a choice. Two searches from nothing, of eight candidates and of WIDE; then what they chose, the best of the
# first eight as the wide search saw it, and the default meet in races of their own (`mixc tune --try`): no time both chooses and
# judges. Prints a table and the means of each family and in all (tune_table.py).
#
#   tests/bench/tune.sh          MIXC=build/mixc  WIDE=32 candidates  FAMILIES="contract rows ..": only these  THREADS=2
#                                OUT=FOLDER keeps what was measured: the same command goes on from there
#                                RUN="COMMAND ..": runs each piece (of at most 40 s), to keep other work away from it
set -eu
. "$(dirname "$0")/common.sh"
here=$PWD/tests/bench
wide=${WIDE:-$(pick 32 3)} some=$(pick 8 2) families=${FAMILIES:-$(pick 'few contract batch rows grouped loop' batch)} begin=$(date +%s) run=${RUN:-}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
out=${OUT:-$work/out} && mkdir -p "$out" && out=$(realpath "$out")
models=$PWD/models
cd "$out"

# products NAME M,N,K ..: a model of one product each
products() {
    python3 - "$@" <<'PY' >"$1.mix"
import sys
shapes = [tuple(map(int, s.split(","))) for s in sys.argv[2:]]
print("mix 1")
for i, (m, n, k) in enumerate(shapes):
    print(f"axis M{i} = {m}, N{i} = {n}, K{i} = {k}")
print("model Shapes(" + ", ".join(f"x{i}: [M{i},K{i}]" for i in range(len(shapes))) + ") -> "
      + ", ".join(f"y{i}: [M{i},N{i}]" for i in range(len(shapes))) + " {")
for i in range(len(shapes)):
    print(f"  param w{i}[K{i},N{i}]\n  y{i} = relu(x{i} @[K{i}] w{i})")
print("}")
PY
}
# rows, columns, terms: layers of language and picture models, gradients of weights, odd sizes; and decoding, of few rows
products contract 2048,384,384 2048,1536,384 2048,384,1536 384,1536,2048 1024,512,512 333,77,1001 100,100,5000 4096,32,128 512,512,512
products few 128,512,512 64,2048,512 16,1024,1024 4,1024,1024 2,2048,512 8,512,2048 32,768,768
cat >batch.mix <<'MIX'
mix 1
axis B = 1024, R = 32, L = 32, S = 32, A = R*L, M = S*L, P = 512, Q = 40, K = 16, Z = 24, U = Q*K, V = Z*K
model Batches(x: [B,A], y: [P,U]) -> u: [B,M], v: [P,V] {
  param w[L,S,R], z[K,Z,Q]
  u = relu((x.split(A -> R*L) @[R] w).merge(S*L -> M))
  v = relu((y.split(U -> Q*K) @[Q] z).merge(Z*K -> V))
}
MIX

what() {                                    # what FAMILY: the model and the kernels of it
    case $1 in
        contract|few) echo "$1.mix" ;;
        batch)    echo "batch.mix --kernel contract" ;;
        rows)     echo "$models/gpt.mix --size medium train.batch=4 --kernel rows" ;;
        grouped)  echo "$here/moe.mix --size medium --kernel grouped --kernels 6" ;;
        loop)     echo "$models/gpt.mix --size medium train.batch=4 --kernel loop --kernels 6" ;;
    esac
}
search() {                                  # search FAMILY FOLDER CANDIDATES: all kernels, into FOLDER/FAMILY.json
    mkdir -p "$2" && mkdir -p -m 700 "cache.$2"
    until grep -qs '"finished": true' "$2/$1.json"; do
        MIXC_CACHE_DIR=$out/cache.$2 $run "$mixc" tune $(what "$1") -j "${THREADS:-2}" --candidates "$3" --budget 25s --json --quiet >"$2/$1.json"
    done
}
for family in $families; do
    search "$family" eight "$some"
    search "$family" wide "$wide"
    mkdir -p heats
    python3 "$here/tune_table.py" --chosen "$out" "$family" | while read -r key schedules; do
        [ -s "heats/$family.$key.json" ] && continue
        set -- $(what "$family")
        MIXC_CACHE_DIR=$out/cache.wide $run "$mixc" tune $(printf '%s\n' "$*" | sed 's/ --kernel [^ ]*//;s/ --kernels [^ ]*//') -j "${THREADS:-2}" \
            --kernel "$key" --try "$schedules" --json --quiet </dev/null >"heats/$family.$key.part"
        mv "heats/$family.$key.part" "heats/$family.$key.json"
    done
done
python3 "$here/tune_table.py" "$out" $families
echo
echo "geometric means; $(($(date +%s) - begin)) s"
