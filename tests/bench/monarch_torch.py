"""The peer of monarch.sh: a Monarch product of 1024 = 32 x 32 features as bmm, transpose, bmm. Prints the milliseconds of a forward,
the median of several, for rows given."""
import argparse
import statistics
import time

import torch

parser = argparse.ArgumentParser()
parser.add_argument("rows", type=int)
parser.add_argument("--rounds", type=int, default=9)
parser.add_argument("--threads", type=int, default=2)
args = parser.parse_args()
torch.set_num_threads(args.threads)
torch.manual_seed(0)
B, b = args.rows, 32
x, w1, w2 = torch.randn(B, b * b), torch.randn(b, b, b), torch.randn(b, b, b)


def forward():
    with torch.no_grad():
        h = torch.bmm(x.view(B, b, b).transpose(0, 1), w1)                          # [k, B, q]
        h = h.transpose(0, 1).reshape(B, b, b).transpose(1, 2).transpose(0, 1)      # [l, B, r]
        y = torch.bmm(h.contiguous(), w2)                                           # [l, B, s]
        return y.permute(1, 2, 0).reshape(B, b * b)


forward()
times = []
for _ in range(args.rounds):
    start = time.perf_counter()
    forward()
    times.append(1e3 * (time.perf_counter() - start))
print(f"{statistics.median(times):.3f}")
