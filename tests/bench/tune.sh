#!/bin/bash
# How good schedules are without a search, and after timing eight candidates, against the best of a wide search: 30 shapes of
# products. About ten minutes on two idle cores; WIDE=20 SHAPES=10 for a shorter look.
set -eu
mixc=$(realpath "${MIXC:-build/mixc}")
wide=${WIDE:-60} shapes=${SHAPES:-30}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export MIXC_CACHE_DIR=$work/cache
cd "$work"
python3 - "$shapes" <<'PY' >shapes.mix
import sys
# rows, columns, terms: layers of language and picture models, decoding, gradients of weights, odd sizes
shapes = [(2048, 384, 384), (2048, 1536, 384), (2048, 384, 1536), (384, 1536, 2048), (384, 384, 2048), (2048, 64, 384),
          (1024, 512, 512), (1024, 2048, 512), (1024, 512, 2048), (512, 2048, 1024), (128, 512, 512), (64, 2048, 512),
          (16, 1024, 1024), (4, 1024, 1024), (1, 1024, 1024), (333, 77, 1001), (1000, 1000, 100), (100, 100, 5000),
          (4096, 128, 128), (4096, 32, 128), (4096, 128, 32), (256, 256, 256), (512, 512, 512), (768, 768, 768),
          (1024, 1024, 64), (64, 64, 4096), (196, 768, 768), (50, 3072, 768), (3000, 200, 200), (17, 513, 257)][:int(sys.argv[1])]
print("mix 1")
for i, (m, n, k) in enumerate(shapes):
    print(f"axis M{i} = {m}, N{i} = {n}, K{i} = {k}")
print("model Shapes(" + ", ".join(f"x{i}: [M{i},K{i}]" for i in range(len(shapes))) + ") -> "
      + ", ".join(f"y{i}: [M{i},N{i}]" for i in range(len(shapes))) + " {")
for i in range(len(shapes)):
    print(f"  param w{i}[K{i},N{i}]\n  y{i} = relu(x{i} @[K{i}] w{i})")
print("}")
PY
"$mixc" tune shapes.mix --candidates 8 --json >eight.json
"$mixc" tune shapes.mix --candidates "$wide" --json >wide.json
python3 - <<'PY'
import json, math
def rows(name):
    out = {}
    for t in json.load(open(name))["timings"]:
        if t["outcome"] == "ok" and t["default_seconds"] > 0:
            out.setdefault((t["kernel"], t["about"]), {})[t["schedule"]] = t["seconds"]/t["default_seconds"]
        elif t["outcome"] != "ok":
            print("FAILED:", t["outcome"], t["schedule"], t["about"])
    return out
eight, wide = rows("eight.json"), rows("wide.json")
print("| product | schedules | without a search | of eight |\n|---|--:|--:|--:|")
zero, some = [], []
for key, all_ in sorted(wide.items(), key=lambda item: item[0][1]):
    best = min(all_.values())
    few = min(eight[key].values())
    few = 1 if few > .985 else few                       # what a search of eight would choose
    zero.append(1/best)
    some.append(few/best)
    print(f"| {key[1][:70]} | {len(all_)} | {100*(1/best - 1):.1f} % | {100*(few/best - 1):.1f} % |")
mean = lambda v: 100*(math.exp(sum(map(math.log, v))/len(v)) - 1)
print(f"\ngeometric mean over the best known, {len(zero)} shapes: {mean(zero):.1f} % without a search, {mean(some):.1f} % of eight")
PY
