#!/usr/bin/env python3
"""Medians and ratios of what gpt.sh collected: FOLDER/ours.N (JSON lines of a training run, then {"eval": ..} and
{"peak_kib": ..}) and FOLDER/theirs.N (one JSON line)."""
import json, statistics, sys

folder, rounds = sys.argv[1], int(sys.argv[2])
tokens_a_step = 16 * 256
ours, theirs = {"train": [], "eval": [], "peak": []}, {"train": [], "eval": [], "peak": []}
for i in range(rounds):
    lines = [json.loads(line) for line in open(f"{folder}/ours.{i}") if line.startswith("{")]
    steps = [line["tokens_per_s"] for line in lines if "step" in line and "tokens_per_s" in line]
    ours["train"].append(statistics.median(steps[2:]))
    ours["eval"] += [line["batches"] * tokens_a_step / line["seconds"] for line in lines if "batches" in line]
    ours["peak"] += [line["peak_kib"] * 1024 for line in lines if "peak_kib" in line]
    peer = json.loads(open(f"{folder}/theirs.{i}").read())
    theirs["train"].append(peer["train_tokens_per_s"])
    theirs["eval"].append(peer["eval_tokens_per_s"])
    theirs["peak"].append(peer["peak_bytes"])
print(f"| | mixc | PyTorch {peer['torch']} | ratio |\n|---|---|---|---|")
for key, name, scale, unit in (("train", "training", 1, "tokens/s"), ("eval", "evaluation", 1, "tokens/s"),
                               ("peak", "peak resident memory", 2 ** 20, "MiB")):
    a, b = statistics.median(ours[key]) / scale, statistics.median(theirs[key]) / scale
    print(f"| {name} | {a:.0f} {unit} | {b:.0f} {unit} | {a / b:.2f} |")
