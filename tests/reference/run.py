"""Compares Mix with PyTorch: run.py [--ways eval,cpu,sim] [NAME ..]; MIXC names the program."""
import importlib, sys
import torch
import harness

WAYS = {"eval": (["--device", "eval"], 1), "cpu": (["--device", "cpu", "--threads", "2"], 1),
        "cpu1": (["--device", "cpu", "--threads", "1"], 1), "cpu5": (["--device", "cpu", "--threads", "5"], 1),
        "bf16": (["--device", "cpu", "--dtype", "bf16"], 3000), "sim": (["--device", "sim"], 1)}

torch.set_default_dtype(torch.float64)
words = sys.argv[1:]
ways = ["eval", "cpu"]
if words[:1] == ["--ways"]:
    ways, words = words[1].split(","), words[2:]
seed = 1
if words[:1] == ["--seed"]:
    seed, words = int(words[1]), words[2:]
for module in ("routing", "routing_odd", "sequences", "convolutions", "vision"):
    try:
        importlib.import_module(module)
    except ModuleNotFoundError as e:
        if e.name != module:
            raise
names = [n for n in harness.CASES if not words or any(w in n for w in words)]
sys.exit(min(1, harness.run(names, {w: WAYS[w] for w in ways}, seed)))
