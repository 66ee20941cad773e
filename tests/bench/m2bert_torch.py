"""The peer of m2bert.sh: a forward of BERT-base (12 layers, width 768, 12 heads) in eager PyTorch, one text of `length` tokens,
without the vocabulary's output layer. Prints milliseconds, the median of a few."""
import argparse
import statistics
import time

import torch
from torch.nn import functional as F

parser = argparse.ArgumentParser()
parser.add_argument("length", type=int)
parser.add_argument("--rounds", type=int, default=2)
parser.add_argument("--threads", type=int, default=2)
args = parser.parse_args()
torch.set_num_threads(args.threads)
torch.manual_seed(0)
T, D, H = args.length, 768, 12


def linear(n_in, n_out):
    return torch.randn(n_out, n_in) * 0.02, torch.zeros(n_out)


layers = [{"qkv": linear(D, 3 * D), "out": linear(D, D), "up": linear(D, 4 * D), "down": linear(4 * D, D)} for _ in range(12)]
x0 = torch.randn(1, T, D)


def forward():
    with torch.no_grad():
        x = x0
        for layer in layers:
            q, k, v = F.linear(x, *layer["qkv"]).view(1, T, 3, H, D // H).permute(2, 0, 3, 1, 4)
            p = torch.softmax(q @ k.transpose(-1, -2) / (D // H) ** 0.5, dim=-1)
            a = (p @ v).transpose(1, 2).reshape(1, T, D)
            x = F.layer_norm(x + F.linear(a, *layer["out"]), (D,))
            x = F.layer_norm(x + F.linear(F.gelu(F.linear(x, *layer["up"])), *layer["down"]), (D,))
        return x


forward()
times = []
for _ in range(args.rounds):
    start = time.perf_counter()
    forward()
    times.append(1e3 * (time.perf_counter() - start))
print(f"{statistics.median(times):.3f}")
