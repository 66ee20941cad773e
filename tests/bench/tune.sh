#!/bin/bash
# How good schedules are without a search, and after timing eight candidates, against the best of a wide search: 30 kernels of all
# families that have a choice. Two searches from nothing: one of eight candidates, whose winner is then looked up among the
# times of the wide one, so that no time is both chosen and judged by. Prints a table, and the means of each family and in all.
#
#   tests/bench/tune.sh          MIXC=build/mixc  WIDE=24 candidates  FAMILIES="contract rows ..": only these  THREADS=2
#                                OUT=FOLDER keeps the times
set -eu
. "$(dirname "$0")/common.sh"
here=$PWD/tests/bench
wide=${WIDE:-$(pick 24 3)} some=$(pick 8 2) families=${FAMILIES:-$(pick 'contract batch rows grouped loop' batch)} begin=$(date +%s)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
out=${OUT:-$work} && mkdir -p "$out" && out=$(realpath "$out")
models=$PWD/models
cd "$work"
python3 - <<'PY' >shapes.mix
# rows, columns, terms: layers of language and picture models, decoding, gradients of weights, odd sizes
shapes = [(2048, 384, 384), (2048, 1536, 384), (2048, 384, 1536), (384, 1536, 2048), (1024, 512, 512), (128, 512, 512),
          (64, 2048, 512), (16, 1024, 1024), (4, 1024, 1024), (1, 1024, 1024), (333, 77, 1001), (100, 100, 5000),
          (4096, 32, 128), (512, 512, 512)]
print("mix 1")
for i, (m, n, k) in enumerate(shapes):
    print(f"axis M{i} = {m}, N{i} = {n}, K{i} = {k}")
print("model Shapes(" + ", ".join(f"x{i}: [M{i},K{i}]" for i in range(len(shapes))) + ") -> "
      + ", ".join(f"y{i}: [M{i},N{i}]" for i in range(len(shapes))) + " {")
for i in range(len(shapes)):
    print(f"  param w{i}[K{i},N{i}]\n  y{i} = relu(x{i} @[K{i}] w{i})")
print("}")
PY
cat >batch.mix <<'MIX'
mix 1
axis B = 1024, R = 32, L = 32, S = 32, A = R*L, M = S*L, P = 512, Q = 40, K = 16, Z = 24, U = Q*K, V = Z*K
model Batches(x: [B,A], y: [P,U]) -> u: [B,M], v: [P,V] {
  param w[L,S,R], z[K,Z,Q]
  u = relu((x.split(A -> R*L) @[R] w).merge(S*L -> M))
  v = relu((y.split(U -> Q*K) @[Q] z).merge(Z*K -> V))
}
MIX

search() {                                  # search FOLDER CANDIDATES: all kernels, into FOLDER/FAMILY.json
    local folder=$1 n=$2 family
    mkdir -p "$out/$folder" && mkdir -m 700 "cache.$folder"
    for family in $families; do
        case $family in
            contract) set -- shapes.mix ;;
            batch)    set -- batch.mix --kernel contract ;;
            rows)     set -- "$models/gpt.mix" --size medium train.batch=4 --kernel rows ;;
            grouped)  set -- "$here/moe.mix" --size medium --kernel grouped --kernels 6 ;;
            loop)     set -- "$models/gpt.mix" --size medium train.batch=4 --kernel loop --kernels 6 ;;
        esac
        MIXC_CACHE_DIR=$work/cache.$folder "$mixc" tune "$@" -j "${THREADS:-2}" --candidates "$n" --json --quiet >"$out/$folder/$family.json"
    done
}
search eight "$some"
search wide "$wide"
python3 - "$out" $families <<'PY'
import json, math, sys
def rows(name):
    found = {}
    for t in json.load(open(name))["timings"]:
        if "candidate" not in t:
            continue                                     # of another model
        if t["outcome"] == "ok" and t["default_seconds"] > 0:
            found.setdefault((t["kernel"], t["about"]), {})[t["schedule"]] = t["seconds"]/t["default_seconds"]
        elif t["outcome"] != "ok":
            print("FAILED:", t["outcome"], t["schedule"], t["about"])
    return found
mean = lambda v: 100*(math.exp(sum(map(math.log, v))/len(v)) - 1) if v else 0
out, families = sys.argv[1], sys.argv[2:]
print("| family | kernel | schedules | without a search | of eight | best schedule |\n|---|---|--:|--:|--:|---|")
means, zero, some = [], [], []
for family in families:
    eight, wide, z, s = rows(f"{out}/eight/{family}.json"), rows(f"{out}/wide/{family}.json"), [], []
    for key, times in sorted(wide.items(), key=lambda item: item[0][1]):
        best = min(times, key=times.get)
        chosen = min(eight.get(key, {"default": 1}).items(), key=lambda item: item[1])
        chosen = chosen[0] if chosen[1] < .985 and chosen[0] in times else "default"      # what a search of eight would choose
        z.append(1/times[best])
        s.append(times[chosen]/times[best])
        print(f"| {family} | {key[1][:60]} | {len(times)} | {100*(z[-1] - 1):.1f} % | {100*(s[-1] - 1):.1f} % | {best} |")
    means.append((family, len(z), mean(z), mean(s)))
    zero += z
    some += s
print("\n| family | kernels | without a search | of eight |\n|---|--:|--:|--:|")
for family, n, z, s in means + [("all", len(zero), mean(zero), mean(some))]:
    print(f"| {family} | {n} | {z:.1f} % | {s:.1f} % |")
PY
echo
echo "geometric means over the best known schedule; $(($(date +%s) - begin)) s"
