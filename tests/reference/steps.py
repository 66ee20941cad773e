"""Training steps: `mixc train` and torch.optim from the same weights and the same batch, which holds all there is.

steps.py [DEVICE,..] [NAME ..]. What is compared is how far each parameter moved."""
import json, math, os, sys, tempfile
import numpy as np
import torch
import harness
from nets import *

TEXT = """mix 1
use std.norm
axis B : batch in 1..64, Y = 3, X = 4, C = 1, D = 5, F = 6, N = 3, E : expert = 3
model M(image: [B,Y,X,C]) -> logits: [B,N] {
  param W1[Y,X,C,D], b1[D], Wn[D,N], bn[N]
  h = gelu(image @[Y,X,C] W1 + b1)
  h = h + Moe(h)
  logits = LN(h) @[D] Wn + bn
}
layer Moe(x: [B,D]) -> [B,D] {
  param Wr[D,E], We[E,D,F], Wf[E,F,D]
  yield route x by x @[D] Wr to E experts top 2 balance switch(0.5) over B each t { yield relu(t @[D] We) @[F] Wf }
}
data pictures { source = idx("images", "labels", "images", "labels") }
train M on pictures { loss = cross_entropy(logits, labels, over=N, smooth=0.1) + aux  %s }
"""

N_PICTURES, STEPS = 14, 7


def idx(path, a):
    with open(path, "wb") as f:
        f.write(bytes([0, 0, 8, a.ndim]) + b"".join(n.to_bytes(4, "big") for n in a.shape) + a.tobytes())


def loss_of(p, x, labels):
    h = gelu(x @ p["W1"].reshape(12, 5) + p["b1"])
    q = torch.softmax(h @ p["Wr"], -1)
    e = best(q, 2)
    h = h + mix(h, e, torch.gather(q, 1, e), lambda e, t: relu(t @ p["We"][e]) @ p["Wf"][e])
    logits = ln(h, p.at("M.LN")) @ p["Wn"] + p["bn"]
    aux = 0.5 * 3 * (hot(e, 3).mean(0) / 2 * q.mean(0)).sum()
    return F.cross_entropy(logits, labels, label_smoothing=0.1) + aux


def lamb(p, groups, lr, decay, correct, trust=True, beta=(0.9, 0.999), eps=1e-6):
    """You et al. 2020; of the experts' weights each expert's has its own ratio."""
    state = {n: [torch.zeros_like(v), torch.zeros_like(v)] for n, v in p.items()}
    def step(i, rate):
        for n, v in p.items():
            m, s = state[n]
            m.mul_(beta[0]).add_((1 - beta[0]) * v.grad)
            s.mul_(beta[1]).add_((1 - beta[1]) * v.grad ** 2)
            c = [1 - b ** (i + 1) if correct else 1 for b in beta]
            wd = 0 if groups(n) else decay
            u = (m / c[0]) / (torch.sqrt(s / c[1]) + eps) + wd * v.detach()
            if trust and not groups(n):
                dims = tuple(range(1, v.ndim)) if n.endswith((".We", ".Wf")) else tuple(range(v.ndim))
                norm = lambda t: torch.sqrt((t * t).sum(dims, keepdim=True))
                a, b = norm(v.detach()), norm(u)
                u = u * torch.where((a > 0) & (b > 0), a / b, torch.ones_like(a))
            v.data.sub_(rate * u)
    return step


def torch_step(make):
    def begin(p):
        o = make(p)
        peak = [g["lr"] for g in o.param_groups]
        first = peak[0]
        def step(i, rate):
            for g, k in zip(o.param_groups, peak):
                g["lr"] = k * rate / first
            o.step()
        return step
    return begin


is_small = lambda n: "LN" in n or n.endswith((".b1", ".bn"))


def groups(p, lr, decay, **more):
    return [{"params": [v for n, v in p.items() if not is_small(n)], "weight_decay": decay, "lr": lr},
            {"params": [v for n, v in p.items() if is_small(n)], "weight_decay": 0.0, "lr": more.get("small", lr)}]


SMALL = 'groups = (group("*.LN*", decay=0%s), group("*.b?", decay=0%s))'
# name: keys of the train section, clip, rate of a step from 0, how torch does it
CASES = {
    "sgd": ("optimizer = sgd(lr=0.1)", 0, lambda i: 0.1, torch_step(lambda p: torch.optim.SGD(p.values(), 0.1))),
    "sgd_nesterov": ("optimizer = sgd(lr=0.05, momentum=0.9, nesterov=1, decay=0.1, clip=0.7)", 0.7, lambda i: 0.05,
                     torch_step(lambda p: torch.optim.SGD(p.values(), 0.05, 0.9, weight_decay=0.1, nesterov=True))),
    "adamw_cosine": ("optimizer = adam(lr=0.02, beta2=0.98, eps=1e-6, decay=0.3, clip=0.5)  schedule = cosine(warmup=3, steps=%d, floor=0.1)  "
                     % STEPS + SMALL % ("", ""), 0.5,
                     lambda i: 0.02 * ((i + 1) / 3 if i < 3 else 0.1 + 0.9 * (1 + math.cos(math.pi * (i + 1 - 3) / (STEPS - 3))) / 2),
                     torch_step(lambda p: torch.optim.AdamW(groups(p, 0.02, 0.3), 0.02, (0.9, 0.98), 1e-6))),
    "adam_own_rates": ("optimizer = adam(lr=0.01)  schedule = linear(warmup=2, steps=%d, floor=0.05, start=0.5)  " % STEPS + SMALL % (", lr=0.05", ", lr=0.05"),
                       0, lambda i: 0.01 * (0.5 + 0.5 * (i + 1) / 2 if i < 2 else 1 - 0.95 * (i + 1 - 2) / (STEPS - 2)),
                       torch_step(lambda p: torch.optim.AdamW(groups(p, 0.01, 0.0, small=0.05), 0.01))),
    "lamb": ("optimizer = lamb(lr=0.05, eps=1e-6, decay=0.1, clip=1)", 1, lambda i: 0.05,
             lambda p: lamb(p, lambda n: False, 0.05, 0.1, True)),
    "lamb_of_albert": ("optimizer = lamb(lr=0.05, eps=1e-6, decay=0.01, correct=0)  " + SMALL % (", trust=0", ", trust=0"), 0, lambda i: 0.05,
                       lambda p: lamb(p, is_small, 0.05, 0.01, False)),
}


def one(name, words, loose=1.0):
    keys, clip, rate, begin = CASES[name]
    g = np.random.default_rng(3)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        with open("m.mix", "w") as f:
            f.write(TEXT % (keys + "  batch = %d" % N_PICTURES))
        pixels, labels = g.integers(0, 256, (N_PICTURES, 3, 4)).astype(np.uint8), (np.arange(N_PICTURES) % 3).astype(np.uint8)
        idx("images", pixels)
        idx("labels", labels)
        values = {q["name"]: harness.usual(q["name"], tuple(q["sizes"]), g).astype(np.float32)
                  for q in json.loads(harness.mixc("show", "m.mix", "--json"))["parameter_list"]}
        harness.write_tensors("w.st", {"param." + n: a for n, a in values.items()})
        harness.mixc("train", "m.mix", "--weights", "w.st", "--out", "run", "--steps", str(STEPS), "-q", *words)
        files = [os.path.join(d, f) for d, _, fs in os.walk("run") for f in fs if f.endswith(".safetensors") or f.endswith(".st")]
        got = harness.read_tensors(sorted(files)[-1])
        p = harness.Params({n: torch.tensor(a.astype(np.float64), requires_grad=True) for n, a in values.items()})
        step = begin(p)
        x = pixels.reshape(N_PICTURES, 12) / 255.0
        x = torch.tensor((x - x.mean()) / x.std())
        for i in range(STEPS):
            for v in p.values():
                v.grad = None
            loss_of(p, x, torch.tensor(labels.astype(np.int64))).backward()
            if clip:
                torch.nn.utils.clip_grad_norm_(list(p.values()), clip)
            step(i, rate(i))
        told = []
        for n, v in p.items():
            a = next(got[k] for k in (n, "param." + n) if k in got)
            moved = np.linalg.norm(v.detach().numpy() - values[n])
            d = np.linalg.norm(a - v.detach().numpy()) / moved
            if not d < 2e-4 * loose:
                told.append("%s is off by %.1e of its way" % (n, d))
        return told


if __name__ == "__main__":
    torch.set_default_dtype(torch.float64)
    failed = 0
    ways = sys.argv[1].split(",") if len(sys.argv) > 1 else ["cpu"]
    for name in sys.argv[2:] or CASES:
        for way in ways:
            try:
                told = one(name, ["--device", way])
            except harness.Failure as e:
                told = [str(e)]
            failed += bool(told)
            print("%-20s %-5s %s" % (name, way, "ok" if not told else "WRONG\n    " + "\n    ".join(told)), flush=True)
    sys.exit(min(1, failed))
