"""The peer of moe.sh: the same one-layer routed model in PyTorch. Choices are sorted by expert and their rows gathered
once; a loop over the experts multiplies, and one index_add brings the results back. Prints the milliseconds of a forward and of a
training step (forward, backward, sgd), medians of several."""
import argparse
import statistics
import time

import torch

parser = argparse.ArgumentParser()
parser.add_argument("--experts", type=int, required=True)
parser.add_argument("--hidden", type=int, required=True)
parser.add_argument("--choices", type=int, required=True)
parser.add_argument("--steps", type=int, default=5)
parser.add_argument("--threads", type=int, default=2)
args = parser.parse_args()
torch.set_num_threads(args.threads)
torch.manual_seed(0)

T, V, D, E, F, K = 1024, 65, 512, args.experts, args.hidden, args.choices
wte, wpe, ws = torch.randn(V, D), torch.randn(T, D), torch.randn(E, D)
w1, w2 = torch.randn(E, D, F) * 0.02, torch.randn(E, F, D) * 0.02
weights = [w.requires_grad_() for w in (wte, wpe, ws, w1, w2)]
tokens, targets = torch.randint(V, (T,)), torch.randint(V, (T,))


def layer(x):
    scores = x @ ws.t()
    chosen = scores.topk(K, dim=1).indices
    gate = torch.sigmoid(scores).gather(1, chosen).reshape(-1)
    order = chosen.reshape(-1).argsort(stable=True)
    counts = torch.bincount(chosen.reshape(-1), minlength=E).tolist()
    rows = order // K
    parts = x.index_select(0, rows).split(counts)
    out = [torch.relu(part @ a) @ b for part, a, b in zip(parts, w1.unbind(0), w2.unbind(0))]
    return torch.zeros_like(x).index_add(0, rows, torch.cat(out) * gate[order, None])


def loss():
    return torch.nn.functional.cross_entropy(layer(wte[tokens] + wpe) @ wte.t(), targets)


def forward():
    with torch.no_grad():
        loss()


def step():
    for w in weights:
        w.grad = None
    loss().backward()
    with torch.no_grad():
        for w in weights:
            w -= 1e-3 * w.grad


def median_ms(what):
    what()
    times = []
    for _ in range(args.steps):
        start = time.perf_counter()
        what()
        times.append(1e3 * (time.perf_counter() - start))
    return statistics.median(times)


print(f"{median_ms(forward):.3f} {median_ms(step):.3f}")
