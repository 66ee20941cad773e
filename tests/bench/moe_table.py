"""The tables of moe.sh: mixc beside the formulations of moe_torch.py, and beside what this machine can do at most.

The roof of a step is the larger of two times: its multiply-adds at the rate that `mixc profile` measures, and the bytes of the
experts' matrices (read once forward; in training read twice, and read and written by the update) at the rate it measures."""
import argparse
import json
import os
import statistics
import subprocess
import sys

T, V, D = 1024, 65, 512
SHAPES = [("coarse", 8, 2048, 2), ("medium", 64, 128, 8), ("fine", 256, 128, 8)]

parser = argparse.ArgumentParser()
parser.add_argument("--mixc", default="build/mixc")
parser.add_argument("--rounds", type=int, default=2)
parser.add_argument("--quick", action="store_true", help="one shape, to see that it works")
args = parser.parse_args()
threads = len(os.sched_getaffinity(0))
with open("/proc/cpuinfo") as f:
    wide = " avx512f " in f.read()
tuned = dict(os.environ, MALLOC_MMAP_MAX_="0", MALLOC_TRIM_THRESHOLD_="17179869184")
if wide:
    tuned["OPENBLAS_CORETYPE"] = "SKYLAKEX"


def ours(size, mode, dtype="f32", *bindings):
    """Seconds of one step, multiply-adds * 2 per second and bytes per second at best."""
    out = subprocess.run([args.mixc, "profile", "tests/bench/moe.mix", "--size", size, "--mode", mode, "--dtype", dtype, "--threads",
                          str(threads), "--steps", "1" if args.quick else "7", "--json", *bindings], check=True, capture_output=True, text=True).stdout
    told = json.loads(out)
    return told.get("wall_seconds", told["seconds"]), told["ceiling"]["flops"], told["ceiling"]["bytes"]


def theirs(experts, hidden, choices, env, n_threads, only=(), steps=3):
    """Milliseconds by formulation and number of threads: forward, training."""
    command = [sys.executable, "tests/bench/moe_torch.py", "--experts", str(experts), "--hidden", str(hidden), "--choices",
               str(choices), "--threads", str(n_threads), "--steps", str(steps)]
    out = subprocess.run(command + (["--only", ",".join(only)] if only else []), check=True, capture_output=True, text=True, env=env).stdout
    return {(name, n_threads): (float(a), float(b)) for name, a, b in (line.split() for line in out.splitlines())}


def with_threads(n):
    return dict(tuned, OMP_NUM_THREADS=str(n))


def survey(shape):
    """Every formulation once with one thread, and with all those of large products: to the loops a second thread is no help."""
    seen = theirs(*shape, with_threads(1), 1, ["stacked", "padded"] if args.quick else (), steps=1)
    if threads > 1 and not args.quick:
        seen.update(theirs(*shape, with_threads(threads), threads, ["sorted", "sorted_leaves", "padded"], steps=1))
    return seen


def fastest(seen, i, count):
    return sorted(seen, key=lambda key: seen[key][i])[:count]


def called(key):
    return key[0] + ("" if key[1] == threads else f"@{key[1]}")


def roof_ms(experts, hidden, choices, flops, rate, training):
    work = 4 * T * choices * D * hidden + 2 * T * D * (experts + V)
    moved = 8 * experts * D * hidden
    return 1e3 * max(work * (3 if training else 1) / flops, moved * (4 if training else 1) / rate)


def compare(size, *shape):
    seen = survey(shape)
    good = {key for i in (0, 1) for key in fastest(seen, i, 2)}
    mine, peers, ceilings = {}, {}, []
    for _ in range(args.rounds):
        for dtype in ("f32", "bf16"):
            for mode in ("eval", "train"):
                seconds, flops, rate = ours(size, mode, dtype)
                mine.setdefault((dtype, mode), []).append(1e3 * seconds)
                ceilings.append((flops, rate))
        for n in sorted({n for _, n in good}):
            for key, times in theirs(*shape, with_threads(n), n, [name for name, k in good if k == n]).items():
                peers.setdefault(key, []).append(times)
    library = theirs(*shape, dict(os.environ), threads, ["stacked"], steps=1)["stacked", threads]
    flops, rate = (max(c[i] for c in ceilings) for i in (0, 1))
    print(f"\n{shape[0]} experts of {shape[1]}, top {shape[2]}; this machine: {flops/1e9:.0f} GFLOP/s, {rate/1e9:.0f} GB/s")
    print(f"  {'':10} {'mixc':>9} {'roof':>9} {'share':>6}   {'best PyTorch':>24} {'ratio':>7}   {'library default':>16} {'ratio':>7}"
          f"   {'mixc bf16':>9} {'ratio':>7}")
    for i, mode in enumerate(("eval", "train")):
        key, best = min(((k, statistics.median(t[i] for t in ts)) for k, ts in peers.items()), key=lambda x: x[1])
        ms, half = statistics.median(mine["f32", mode]), statistics.median(mine["bf16", mode])
        roof = roof_ms(*shape, flops, rate, mode == "train")
        print(f"  {('forward', 'training')[i]:10} {ms:6.1f} ms {roof:6.1f} ms {100 * roof / ms:5.0f}%   {called(key):>14} {best:6.1f} ms {best / ms:6.2f}x"
              f"   {library[i]:13.1f} ms {library[i] / ms:6.1f}x   {half:6.1f} ms {best / half:6.2f}x")
    others = ", ".join(f"{called(k)} {t[0]:.1f}/{t[1]:.1f}" for k, t in seen.items())
    print(f"  every formulation once, forward/training in ms: {others}", flush=True)


def sweep():
    """Equal work: 8 choices of 64 wide experts each. What grows by itself is the scores' product and the matrices' bytes."""
    print("\nexperts of 64, top 8, forward: time, less the scores' product and the matrices' way from memory at the roof")
    first = None
    for experts in (16,) if args.quick else (16, 64, 256, 1024):
        runs = [ours("medium", "eval", "f32", f"E={experts}", "F=64", "Kc=8") for _ in range(args.rounds)]
        ms = 1e3 * statistics.median(r[0] for r in runs)
        flops, rate = (max(r[i] for r in runs) for i in (1, 2))
        known = 1e3 * (2 * T * D * experts / flops + 8 * experts * D * 64 / rate)
        first = first or ms - known
        print(f"  {experts:5} experts {ms:7.2f} ms, less {known:6.2f} ms: {ms - known:6.2f} ms, {(ms - known) / first:5.2f}x", flush=True)


for shape in [("medium", 64, 128, 8)] if args.quick else SHAPES:
    compare(*shape)
sweep()
