"""The peer of bench_longconv: y = w*(conv(u*v, k) + skip*u*v) with torch.fft, in its best form: rows [B, C, T] contiguous, real
transforms of length 2T, the filter's spectrum made before (forward) or with the step (training), warm memory. Prints the
milliseconds of a forward and of a forward with gradients of u, v, w, k and skip, medians of several."""
import argparse
import statistics
import time

import torch

parser = argparse.ArgumentParser()
parser.add_argument("batch", type=int)
parser.add_argument("length", type=int)
parser.add_argument("--rounds", type=int, default=5)
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--processor", action="store_true", help="one thread, processor time")
args = parser.parse_args()
torch.set_num_threads(1 if args.processor else args.threads)
now = time.process_time if args.processor else time.perf_counter
torch.manual_seed(0)

B, T, C = args.batch, args.length, 256
u, v, w, dy = (torch.randn(B, C, T) for _ in range(4))
k, skip = torch.randn(C, T) * 0.02, torch.randn(C, 1)
leaves = [x.requires_grad_() for x in (u, v, w, k, skip)]


def conv(x, spectrum):
    return torch.fft.irfft(torch.fft.rfft(x, n=2 * T) * spectrum, n=2 * T)[..., :T]


def layer(spectrum):
    x = u * v
    return (conv(x, spectrum) + skip * x) * w


with torch.no_grad():
    ready = torch.fft.rfft(k, n=2 * T)


def forward():
    with torch.no_grad():
        layer(ready)


def step():
    for x in leaves:
        x.grad = None
    layer(torch.fft.rfft(k, n=2 * T)).backward(dy)


def median_ms(what):
    what()
    times = []
    for _ in range(args.rounds):
        start = now()
        what()
        times.append(1e3 * (now() - start))
    return statistics.median(times)


print(f"{median_ms(forward):.3f} {median_ms(step):.3f}")
