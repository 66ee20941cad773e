"""Mixtures of experts in forms that no paper has, but that the clauses allow together."""
import math
import numpy as np
import torch
from harness import case
from nets import *


@case("""mix 1
# Experts that choose in each sequence, by sigmoids, weights made to sum to one over the experts that took a token; some tokens stay out.
axis B : batch in 1..64, T : time in 1..64, D = 5, F = 3, E : expert = 3
model M(x: [B,T,D], w: [B,T]) -> y: [B,T,D], load: [B,T] {
  param Wr[D,E], W1[E,D,F], W2[E,F,D]
  r = route by x @[D] Wr to E experts gate sigmoid(norm=chosen) where w capacity rows(4) over T assign experts_choose each t
  y = route x by r each t { yield relu(t @[D] W1) @[F] W2 }
  load = sum(r.chosen, over=E)
}
""", {"x": (3, 7, 5), "w": np.array([[1.] * 7, [1, 0, 1, 0, 1, 1, 1], [0, 0, 0, 1, 0, 0, 1]])})
def experts_choose_in_rows(p, x):
    rows, load = [], []
    for b in range(3):
        open_ = x["w"][b] > 0
        u = x["x"][b]
        g = torch.sigmoid(u @ p["Wr"])
        took = torch.zeros(7, 3)
        for e in range(3):
            for t in [t for t in best(g[:, e].masked_fill(~open_, -1), 7).tolist() if open_[t]][:4]:
                took[t, e] = 1
        n = g * took / (g * took).sum(-1, keepdim=True).clamp(min=1.2e-7)
        rows.append(sum(n[:, e:e + 1] * (relu(u @ p["W1"][e]) @ p["W2"][e]) for e in range(3)))
        load.append(took.sum(-1))
    return {"y": torch.stack(rows), "load": torch.stack(load)}


@case("""mix 1
# Parameters with the experts' axis in the middle and at the end, time before batch, weights normalised over what was kept, places by
# choice, and what finds none passes on.
axis B : batch in 1..64, T : time in 1..64, D = 6, F = 7, E : expert = 4
model M(x: [T,B,D]) -> y: [D,T,B] {
  param Wr[E,D], W1[D,F,E], b1[F,E], W2[F,E,D], b2[D,E]
  y = route x by x @[D] Wr to E experts top 3 gate softmax(norm=kept) capacity rows(8) over T*B priority choice overflow pass
      each t { yield gelu(t @[D] W1 + b1) @[F] W2 + b2 }
}
""", {"x": (5, 3, 6)})
def experts_in_the_middle(p, x):
    u = x["x"].reshape(15, 6)       # tokens in the order of the pool that is written: T, then B
    q = torch.softmax(u @ p["Wr"].T, -1)
    e = best(q, 3)
    keep = places(e, choice_major(15, 3)) < 8
    w = torch.gather(q, 1, e)
    kept = w * keep
    total = kept.sum(-1, keepdim=True).clamp(min=1.2e-7)
    ffn = lambda e, t: gelu(t @ p["W1"][..., e] + p["b1"][:, e]) @ p["W2"][:, e] + p["b2"][:, e]
    y = mix(u, e, kept / total, ffn)
    return {"y": y.reshape(5, 3, 6).permute(2, 0, 1)}


@case("""mix 1
use std.norm
# What experts may do to a whole sequence: a convolution, a long convolution, attention of its own, two norms, a loop.
axis B : batch in 1..8, T : time in 1..16, D = 3, C = 2, E : expert = 3, J = 2, A = 4
model M(x: [B,T,C,D]) -> y: [B,T,C,D] {
  param Wr[D,E], w[E,D,J], k[E,T,D], Wq[E,D,A], Wk[E,D,A]
  s = mean(x, over=T) @[D] Wr
  y = route x by s to E experts top 2 gate softmax(norm=chosen) balance switch(0.1) over B*C each v {
    h = v.window(T -> T*J, pad=past) @[J] w
    h = fftconv(h, k, over=T) + v
    z = softmax(h @[D] Wq @[A] (h @[D] Wk).rename(T -> T'), over=T') @[T'] LN(h).rename(T -> T')
    repeat i in 2 {
      param W[D,D']
      z = z + tanh(z @[D] W).rename(D' -> D)
    }
    yield LN(z)
  }
}
""", {"x": (2, 7, 2, 3)}, {"T": 7})
def sequences_through_experts(p, x):
    T = 7
    u = x["x"].permute(0, 2, 1, 3).reshape(4, T, 3)
    q = torch.softmax(u.mean(1) @ p["Wr"], -1)
    e = best(q, 2)
    w = torch.gather(q, 1, e)
    l0, l1 = p.at("LN"), p.at("LN.2")
    def expert(e, v):
        h = past(v, p["w"][e])
        h = causal_conv(h.T, p["k"][e, :T].T).T + v
        a = torch.softmax((h @ p["Wq"][e]) @ (h @ p["Wk"][e]).T, -1)
        z = a @ (norm(h) * l0["gain"][e] + l0["bias"][e])
        for i in range(2):
            z = z + torch.tanh(z @ p["M.i%d.W" % i if "M.i%d.W" % i in p else "M.l%d.W" % i][e])
        return norm(z) * l1["gain"][e] + l1["bias"][e]
    y = mix(u, e, w / w.sum(-1, keepdim=True), expert)
    return {"y": y.reshape(2, 2, T, 3).permute(0, 2, 1, 3), "aux": 0.1 * 3 * (hot(e, 3).mean(0) / 2 * q.mean(0)).sum()}


@case("""mix 1
# One choice used on other values, one result for each choice with a capacity, places looked at, the hidden rows of two layers.
axis B : batch in 1..8, T : time in 1..32, D = 4, F = 3, G = 2, E : expert = 4, K = 2
model M(x: [B,T,D], z: [B,T,F]) -> a: [B,T,K,G], b: [B,T,D], slot: [B,T,K], w: [B,T,K] {
  param Wr[D,E], U[E,F,G], V[E,G,D]
  r = route by x @[D] Wr to E experts top K gate sigmoid capacity rows(3) over T each t
  a = route z by r each t over K { yield t @[F] U }
  h = route a by r each t over K { yield t @[G] V }
  b = sum(h * r.weight, over=K)
  slot = f32(r.slot)
  w = r.weight
}
""", {"x": (2, 9, 4), "z": (2, 9, 3)})
def choices_one_by_one(p, x):
    s = x["x"] @ p["Wr"]
    e = best(s, 2)
    slot = torch.stack([places(e[b]) for b in range(2)])
    keep = (slot < 3).double()
    w = torch.sigmoid(torch.gather(s, 2, e)) * keep
    a = torch.einsum("btf,btkfg->btkg", x["z"], p["U"][e]) * keep[..., None]
    b = (torch.einsum("btkg,btkgd->btkd", a, p["V"][e]) * w[..., None]).sum(2)
    return {"a": a, "b": b, "slot": torch.where(slot < 3, slot, torch.full_like(slot, -1)).double(), "w": w}


@case("""mix 1
# Sinkhorn's rounds decide, sigmoids weigh; then a table of several experts for each token.
axis B : batch in 1..8, T : time in 1..32, D = 4, E : expert = 3, K = 2, V = 5
model M(x: [B,T,D], tokens: int[B,T], map: int[V,K]) -> y: [B,T,D], z: [B,T,D] {
  param Wr[D,E], W[E,D,D'], U[E,D,D']
  h = route x by x @[D] Wr to E experts top 1 gate sigmoid assign sinkhorn(5) over B*T each t { yield tanh(t @[D] W) }
  y = h.rename(D' -> D)
  g = route x by map[V = tokens] to E experts top K each t { yield tanh(t @[D] U) }
  z = g.rename(D' -> D)
}
""", {"x": (2, 6, 4), "tokens": ((2, 6), 5), "map": np.array([[0, 1], [2, 2], [1, 0], [0, 2], [1, 1]])})
def sinkhorn_and_tables(p, x):
    u = x["x"].reshape(12, 4)
    s = u @ p["Wr"]
    m = torch.exp(s - s.max(-1, keepdim=True)[0]).detach()
    c = torch.ones(3)
    for _ in range(5):
        r = 1 / (m * c).sum(-1)
        c = 12 / 3 / (m * r[:, None]).sum(0)
    e = best(m * c, 1)
    y = mix(u, e, torch.sigmoid(torch.gather(s, 1, e)), lambda e, t: torch.tanh(t @ p["W"][e]))
    e = x["map"][x["tokens"]].reshape(12, 2)
    z = mix(u, e, torch.ones(12, 2), lambda e, t: torch.tanh(t @ p["U"][e]))
    return {"y": y.reshape(2, 6, 4), "z": z.reshape(2, 6, 4)}


@case("""mix 1
use std.norm
# Computed again in the backward pass: a mixture with a capacity, shared over a loop, with a term of all uses.
axis B : batch in 1..8, T : time in 1..32, D = 5, F = 4, E : expert = 6
layer Moe(x: [B,T,D]) -> [B,T,D] {
  param Wr[D,E], W1[E,D,F], b1[E,F], W2[E,F,D]
  yield route LN(x) by x @[D] Wr to E experts top 2 capacity 1 over B*T balance zloss(0.1) over B*T, entropy(0.2) over B*T pooled
      each t { yield silu(t @[D] W1 + b1) @[F] W2 }
}
model M(x: [B,T,D]) -> y: [B,T,D] {
  y = x
  repeat g in 2 { repeat r in 2 { y = y + Moe(y) tied over r recompute } }
}
""", {"x": (1, 17, 5)})
def recomputed(p, x):
    y, aux = x["x"].reshape(17, 5), 0
    for g in range(2):
        m = p.at("g%d.Moe" % g) if any(".g%d.Moe." % g in k for k in p) else p.at("l%d.Moe" % g)
        pooled = 0
        for r in range(2):
            s = y @ m["Wr"]
            q = torch.softmax(s, -1)
            e = best(q, 2)
            w = torch.gather(q, 1, e) * (places(e) < 2 * 17 // 6)
            aux = aux + 0.1 * (torch.logsumexp(s, -1) ** 2).mean()
            pooled = pooled + q.mean(0) / 2
            y = y + mix(ln(y, m.at("LN")), e, w, lambda e, t: F.silu(t @ m["W1"][e] + m["b1"][e]) @ m["W2"][e])
        aux = aux + 0.2 * entropy(pooled).sum()
    return {"y": y.reshape(1, 17, 5), "aux": aux}


@case("""mix 1
# Many experts, few chosen, as large models have them: 131 of which 11; wider than any tile.
axis B : batch in 1..8, T : time in 1..64, D = 33, F = 17, E : expert = 131
model M(x: [B,T,D]) -> y: [B,T,D] {
  param Ws[E,D], W1[E,D,F], W2[E,F,D]
  y = route x by x @[D] Ws to E experts top 11 gate sigmoid balance entropy(0.01) over T each t { yield relu(t @[D] W1) @[F] W2 }
}
""", {"x": (3, 37, 33)})
def many_experts(p, x):
    u = x["x"].reshape(111, 33)
    s = u @ p["Ws"].T
    e = best(s, 11)
    y = mix(u, e, torch.sigmoid(torch.gather(s, 1, e)), lambda e, t: relu(t @ p["W1"][e]) @ p["W2"][e])
    return {"y": y.reshape(3, 37, 33), "aux": 0.01 * entropy(torch.softmax(s, -1).reshape(3, 37, 131).mean(1)).sum(-1).mean()}


@case("""mix 1
# Even assignments where some tokens are padding: what these hold decides nothing.
axis B : batch in 1..8, T : time in 1..32, D = 4, E : expert = 3
model M(x: [B,T,D], w: [B,T]) -> y: [B,T,D], z: [B,T,D] {
  param C[E,D], S[E,D], W[E,D,D'], U[E,D,D']
  a = route x by x @[D] C to E experts top 1 gate sigmoid assign balanced over T where w each t { yield tanh(t @[D] W) }
  y = a.rename(D' -> D)
  b = route x by x @[D] S to E experts top 1 gate sigmoid assign sinkhorn(12) over B*T where w each t { yield tanh(t @[D] U) }
  z = b.rename(D' -> D)
}
""", {"x": (2, 9, 4), "w": np.array([[1, 0, 1, 1, 1, 0, 1, 0, 1], [1.] * 6 + [0.] * 3])})
def padding_decides_nothing(p, x):
    real = x["w"].detach() > 0
    none = lambda e: torch.where(real[..., None], e, torch.full_like(e, -1)).reshape(18, 1)
    s = x["x"] @ p["C"].T
    e = torch.stack([assignments((s[b] * real[b][:, None]).detach().numpy(), 3) for b in range(2)])[..., None]
    part = lambda s, e, w: mix(x["x"].reshape(18, 4), none(e), torch.sigmoid(torch.gather(s, 2, e)).reshape(18, 1),
                               lambda e, t: torch.tanh(t @ p[w][e])).reshape(2, 9, 4)
    y = part(s, e, "W")
    s = x["x"] @ p["S"].T
    m, c = (torch.exp(s) * real[..., None]).detach().reshape(18, 3), torch.ones(3)
    m = m[real.reshape(18)]
    for _ in range(12):
        c = len(m) / 3 / (m / (m * c).sum(-1, keepdim=True)).sum(0)
    return {"y": y, "z": part(s, best(torch.exp(s) * c, 1), "U")}
