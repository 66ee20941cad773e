"""The peer of moe.sh: the same one-layer routed model in PyTorch, in each formulation that a careful user would write.

  stacked   a loop over the experts, which find their tokens and index_add their results; weights W[e] of a stacked leaf
  unbind    the same with weights taken by unbind, whose gradient is written once
  leaves    the same with one leaf per expert
  sorted    choices sorted by expert, rows gathered once, a loop of products, one index_add; weights by unbind
  sorted_leaves   the same with one leaf per expert
  padded    rows gathered into [experts, most rows of one], two batched products, one index_add
  one_hot   a mask [experts, choices, tokens] of which each expert takes the places that are set

Prints a line for each: name, milliseconds of a forward, milliseconds of a training step (forward, backward, sgd); medians."""
import argparse
import statistics
import time

import torch

parser = argparse.ArgumentParser()
parser.add_argument("--experts", type=int, required=True)
parser.add_argument("--hidden", type=int, required=True)
parser.add_argument("--choices", type=int, required=True)
parser.add_argument("--steps", type=int, default=3)
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--only", help="these formulations and no others, with commas")
args = parser.parse_args()
torch.set_num_threads(args.threads)
torch.manual_seed(0)

T, V, D, E, F, K = 1024, 65, 512, args.experts, args.hidden, args.choices
wte, wpe, ws = torch.randn(V, D), torch.randn(T, D), torch.randn(E, D)
w1, w2 = torch.randn(E, D, F) * 0.02, torch.randn(E, F, D) * 0.02
tokens, targets = torch.randint(V, (T,)), torch.randint(V, (T,))
shared = [w.requires_grad_() for w in (wte, wpe, ws)]
stacked = [w1.clone().requires_grad_(), w2.clone().requires_grad_()]
leaves = [[m.clone().requires_grad_() for m in w.unbind(0)] for w in (w1, w2)]


def choose(x):
    scores = x @ ws.t()
    chosen = scores.topk(K, dim=1).indices
    return chosen, torch.sigmoid(scores).gather(1, chosen)


def expert(rows, a, b):
    return torch.relu(rows @ a) @ b


def loop(x, first, second):
    chosen, gate = choose(x)
    y = torch.zeros_like(x)
    for e in range(E):
        t, k = torch.where(chosen == e)
        if len(t):
            y = y.index_add(0, t, expert(x[t], first[e], second[e]) * gate[t, k, None])
    return y


def sort(x, first, second):
    chosen, gate = choose(x)
    order = chosen.reshape(-1).argsort(stable=True)
    counts = torch.bincount(chosen.reshape(-1), minlength=E).tolist()
    rows = order // K
    parts = x.index_select(0, rows).split(counts)
    out = torch.cat([expert(part, a, b) for part, a, b in zip(parts, first, second)])
    return torch.zeros_like(x).index_add(0, rows, out * gate.reshape(-1)[order, None])


def padded(x, first, second):
    chosen, gate = choose(x)
    flat = chosen.reshape(-1)
    order = flat.argsort(stable=True)
    counts = torch.bincount(flat, minlength=E)
    most, start, expert_of = int(counts.max()), counts.cumsum(0) - counts, flat[order]
    place = expert_of * most + torch.arange(T * K) - start[expert_of]
    rows = order // K
    held = torch.zeros(E * most, D).index_copy(0, place, x[rows]).view(E, most, D)
    out = torch.bmm(torch.relu(torch.bmm(held, first)), second).view(E * most, D)[place]
    return torch.zeros_like(x).index_add(0, rows, out * gate.reshape(-1)[order, None])


def one_hot(x, first, second):
    chosen, gate = choose(x)
    mask = torch.nn.functional.one_hot(chosen, E).permute(2, 1, 0)
    y = torch.zeros_like(x)
    for e in range(E):
        k, t = torch.where(mask[e])
        if len(t):
            y = y.index_add(0, t, expert(x[t], first[e], second[e]) * gate[t, k, None])
    return y


formulations = {
    "stacked": (loop, lambda: stacked, stacked),
    "unbind": (loop, lambda: [w.unbind(0) for w in stacked], stacked),
    "leaves": (loop, lambda: leaves, sum(leaves, [])),
    "sorted": (sort, lambda: [w.unbind(0) for w in stacked], stacked),
    "sorted_leaves": (sort, lambda: leaves, sum(leaves, [])),
    "padded": (padded, lambda: stacked, stacked),
    "one_hot": (one_hot, lambda: [w.unbind(0) for w in stacked], stacked),
}


def median_ms(what, limit_s=6):
    begin = time.perf_counter()
    what()
    first = time.perf_counter() - begin
    times = [first]
    while len(times) <= args.steps and first * (len(times) + 1) < limit_s:
        start = time.perf_counter()
        what()
        times.append(time.perf_counter() - start)
    return 1e3 * statistics.median(times[1:] or times)      # the first one warms up


for name, (layer, weights, trained) in formulations.items():
    if args.only and name not in args.only.split(","):
        continue

    def loss():
        x = wte[tokens] + wpe
        return torch.nn.functional.cross_entropy(layer(x, *weights()) @ wte.t(), targets)

    def forward():
        with torch.no_grad():
            loss()

    def step():
        for w in shared + trained:
            w.grad = None
        loss().backward()
        with torch.no_grad():
            for w in shared + trained:
                if w.grad is not None:
                    w -= 1e-3 * w.grad

    # Indexing stacked weights writes a gradient of full size for each expert: minutes for hundreds of them.
    slow = name == "stacked" and E > 64
    print(f"{name} {median_ms(forward):.3f} {median_ms(step) if not slow else float('inf'):.3f}", flush=True)
    for w in shared + trained:
        w.grad = None
