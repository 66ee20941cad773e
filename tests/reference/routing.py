"""Mixtures of experts in the forms their papers and their published code have."""
import itertools, math
import numpy as np
import torch
from harness import case
from nets import *


@case("""mix 1
# Switch in groups of tokens as in Mesh TensorFlow: a capacity of its own for each group, with a z-loss.
axis B : batch in 1..64, T : time in 1..64, D = 7, F = 11, E : expert = 5
model M(x: [B,T,D]) -> y: [B,T,D] {
  param Wr[D,E], W1[E,D,F], W2[E,F,D]
  y = route x by x @[D] Wr to E experts top 1 capacity rows(max(min(T, floor(1.25*T/E)), 4)) over T
      balance switch(0.01) over T, zloss(0.001) over T each t { yield relu(t @[D] W1) @[F] W2 }
}
""", {"x": (3, 19, 7)})
def switch_groups(p, x):
    z = x["x"] @ p["Wr"]
    q = torch.softmax(z, -1)
    y, aux = [], 0
    for g in range(3):
        e = best(q[g], 1)
        w = torch.gather(q[g], 1, e) * (places(e) < max(min(19, int(1.25 * 19 / 5)), 4))
        y.append(mix(x["x"][g], e, w, lambda e, t: relu(t @ p["W1"][e]) @ p["W2"][e]))
        aux = aux + 0.01 * 5 * (hot(e, 5).mean(0) * q[g].mean(0)).sum() / 3 + 0.001 * (torch.logsumexp(z[g], -1) ** 2).mean() / 3
    return {"y": torch.stack(y), "aux": aux}


@case("""mix 1
# GShard's second expert by a threshold, as in Mesh TensorFlow: it is wanted where its share is above 0.4; one that is not
# wanted takes no place.
axis B : batch in 1..64, T : time in 1..64, D = 6, F = 9, E : expert = 3, K = 2
model M(x: [B,T,D]) -> y: [B,T,D] {
  param Wr[D,E], W1[E,D,F], W2[E,F,D]
  y = route x by x @[D] Wr to E experts top K gate softmax(norm=chosen) sample above(0.4) capacity rows(9) over B*T
      priority choice balance gshard(0.1) over B*T each t { yield relu(t @[D] W1) @[F] W2 }
}
""", {"x": (1, 23, 6)})
def top2_threshold(p, x):
    S, x = 23, x["x"].reshape(23, 6)
    q = torch.softmax(x @ p["Wr"], -1)
    e = best(q, 2)
    w = torch.gather(q, 1, e)
    w = w / w.sum(-1, keepdim=True)
    wanted = e.clone()
    wanted[:, 1] = torch.where(w[:, 1] > 0.4, e[:, 1], torch.full_like(e[:, 1], -1))
    keep = places(wanted, choice_major(S, 2)) < 9
    y = mix(x, wanted, w * keep, lambda e, t: relu(t @ p["W1"][e]) @ p["W2"][e])
    return {"y": y.reshape(1, 23, 6), "aux": 0.1 * 3 * (hot(e[:, :1], 3).mean(0) * q.mean(0)).sum()}


@case("""mix 1
# fairseq's top 2 with weights normalised before dropping, the most confident tokens first; padding is routed nowhere and counts nowhere.
axis B : batch in 1..64, T : time in 1..64, D = 6, F = 5, E : expert = 4
model M(x: [B,T,D], real: [B,T]) -> y: [B,T,D] {
  param Wr[D,E], W1[E,D,F], b1[E,F], W2[E,F,D], b2[E,D]
  y = route x by x @[D] Wr to E experts top 2 gate softmax(norm=chosen) where real capacity rows(2*ceil(B*T/E) - 3) over B*T
      priority score balance gshard(1) over B*T each t { yield gelu(t @[D] W1 + b1) @[F] W2 + b2 }
}
""", {"x": (2, 11, 6), "real": np.array([[1.] * 11, [1.] * 7 + [0.] * 4])})
def top2_first_the_confident(p, x):
    S, real, x = 22, x["real"].reshape(22), x["x"].reshape(22, 6)
    q = torch.softmax(x @ p["Wr"], -1)
    e = best(q, 2)
    w = torch.gather(q, 1, e)
    w = w / w.sum(-1, keepdim=True)
    wanted = torch.where(real[:, None] > 0, e, torch.full_like(e, -1))
    turn = torch.sort(-q.detach().max(-1)[0], dim=0, stable=True)[1].tolist()
    keep = places(wanted, choice_major(S, 2, turn)) < 2 * 6 - 3
    y = mix(x, wanted, w * keep, lambda e, t: gelu(t @ p["W1"][e] + p["b1"][e]) @ p["W2"][e] + p["b2"][e])
    n = real.sum()
    return {"y": y.reshape(2, 11, 6), "aux": 4 * (hot(wanted[:, :1], 4).sum(0) / n.detach() * (q * real[:, None]).sum(0) / n).sum()}


@case("""mix 1
# V-MoE: three of five experts with their raw probabilities, first choices first, groups of Q pictures, and the two losses that
# its release has: importance, and load under new noise (here with none drawn).
axis B : batch in 2..64, Q = 2, O = B/Q, P = 7, D = 5, F = 6, E : expert = 5, K = 3
model M(x: [B,P,D]) -> y: [B,P,D] {
  param Wr[D,E], W1[E,D,F], b1[E,F], W2[E,F,D], b2[E,D]
  g = x.split(B -> O*Q)
  z = g @[D] Wr
  r = route by z to E experts top K noise gaussian(1/E) capacity rows(4 * ceil(0.8*K*Q*P / (4*E))) over Q*P priority choice each t
  imp = sum(softmax(z, over=E), over=Q*P)
  ci = imp - mean(imp, over=E)
  penalty importance = 0.05 * mean(mean(ci*ci, over=E) / mean(imp, over=E)^2, over=O)
  least = stop(min(select(r.chosen, r.score, 1e30), over=E))
  load = mean(0.5 + 0.5 * erf((z - least) * E / sqrt(2)), over=Q*P)
  cl = load - mean(load, over=E)
  penalty load = 0.05 * mean(mean(cl*cl, over=E) / mean(load, over=E)^2, over=O)
  h = route g by r each t { yield gelu_tanh(t @[D] W1 + b1) @[F] W2 + b2 }
  y = h.merge(O*Q -> B)
}
""", {"x": (6, 7, 5)})
def vmoe_groups(p, x):
    y, aux = [], 0
    for g in range(3):
        u = x["x"][2 * g:2 * g + 2].reshape(14, 5)
        z = u @ p["Wr"]
        q = torch.softmax(z, -1)
        e = best(q, 3)
        rows = 4 * math.ceil(0.8 * 3 * 14 / 20 - 1e-9)
        keep = places(e, choice_major(14, 3)) < rows
        w = torch.gather(q, 1, e) * keep
        y.append(mix(u, e, w, lambda e, t: gelu_tanh(t @ p["W1"][e] + p["b1"][e]) @ p["W2"][e] + p["b2"][e]).reshape(2, 7, 5))
        imp = q.sum(0)
        least = torch.gather(z, 1, e).min(-1, keepdim=True)[0].detach()
        load = (0.5 + 0.5 * torch.erf((z - least) * 5 / math.sqrt(2))).mean(0)
        aux = aux + sum(0.05 * v.var(unbiased=False) / v.mean() ** 2 for v in (imp, load)) / 3
    return {"y": torch.cat(y), "aux": aux}


@case("""mix 1
# Shazeer 2017: a softmax of the chosen scores only; importance, and load by the k-th score without one's own.
axis B : batch in 1..64, D = 5, F = 6, E : expert = 4, K = 2, K1 = K + 1
model M(x: [B,D]) -> y: [B,D] {
  param Wg[D,E], Wn[D,E], W1[E,D,F], W2[E,F,D]
  z = x @[D] Wg
  r = route by z to E experts top K gate softmax(norm=chosen) noise learned(x @[D] Wn) each t
  more = route by z to E experts top K1 each t
  last = min(select(r.chosen, r.score, 1e30), over=E)
  next_best = min(select(more.chosen, more.score, 1e30), over=E)
  least = select(r.chosen, next_best, last)
  load = sum(0.5 + 0.5 * erf((z - least) / softplus(x @[D] Wn) / sqrt(2)), over=B)
  cl = load - mean(load, over=E)
  penalty load = 0.1 * mean(cl*cl, over=E) / mean(load, over=E)^2
  w = select(r.chosen, r.prob, 0)
  imp = sum(w / sum(w, over=E), over=B)
  ci = imp - mean(imp, over=E)
  penalty importance = 0.1 * mean(ci*ci, over=E) / mean(imp, over=E)^2
  y = route x by r each t { yield sigmoid(relu(t @[D] W1) @[F] W2) }
}
""", {"x": (13, 5)})
def shazeer(p, x):
    x = x["x"]
    z = x @ p["Wg"]
    e = best(z, 3)
    top = torch.gather(z, 1, e)
    chosen = hot(e[:, :2], 4) > 0
    w = torch.softmax(z.masked_fill(~chosen, float("-inf")), -1)
    least = torch.where(chosen, top[:, 2:3], top[:, 1:2])
    load = (0.5 + 0.5 * torch.erf((z - least) / F.softplus(x @ p["Wn"]) / math.sqrt(2))).sum(0)
    imp = w.sum(0)
    aux = sum(0.1 * v.var(unbiased=False) / v.mean() ** 2 for v in (imp, load))
    y = mix(x, e[:, :2], torch.gather(w, 1, e[:, :2]), lambda e, t: torch.sigmoid(relu(t @ p["W1"][e]) @ p["W2"][e]))
    return {"y": y, "aux": aux}


@case("""mix 1
# Expert choice (Zhou 2022; V-MoE's code): each expert takes the tokens of largest probability, ceil(C*S/E) of them.
axis B : batch in 1..64, T : time in 1..64, D = 5, F = 6, E : expert = 3
model M(x: [B,T,D]) -> y: [B,T,D] {
  param Wr[D,E], W1[E,D,F], W2[E,F,D]
  y = route x by x @[D] Wr to E experts capacity rows(ceil(1.3*B*T/E)) over B*T assign experts_choose
      each t { yield relu(t @[D] W1) @[F] W2 }
}
""", {"x": (2, 7, 5)})
def experts_choose(p, x):
    x = x["x"].reshape(14, 5)
    q = torch.softmax(x @ p["Wr"], -1)
    y = torch.zeros_like(x)
    for e in range(3):
        for s in best(q[:, e], math.ceil(1.3 * 14 / 3)).tolist():
            y = y + F.one_hot(torch.tensor(s), 14).double()[:, None] * q[s, e] * (relu(x[s] @ p["W1"][e]) @ p["W2"][e])
    return {"y": y.reshape(2, 7, 5)}


@case("""mix 1
use std.norm
# BASE with two sublayers an expert, assigned evenly in each sequence (a worker's share).
axis B : batch in 1..64, T : time in 1..64, D = 6, F = 5, E : expert = 3
model M(x: [B,T,D]) -> y: [B,T,D] {
  param C[E,D]
  y = route x by x @[D] C to E experts top 1 gate sigmoid assign balanced over T each t, g {
    z = t
    repeat q in 2 {
      param W1[D,F], b1[F], W2[F,D], b2[D]
      z = z + relu(LN(z) @[D] W1 + b1) @[F] W2 + b2
    }
    yield g*z + (1 - g) * t
  }
}
""", {"x": (2, 9, 6)})
def base_two_sublayers(p, x):
    rows = []
    for b in range(2):
        h = x["x"][b]
        s = h @ p["C"].T
        a = assignments(s.detach().numpy(), 3)
        for t in range(9):
            e, z = int(a[t]), h[t]
            for q in range(2):
                l = p.at("l%d" % q) if any("l%d." % q in k for k in p) else p.at("q%d" % q)
                z = z + relu((norm(z) * l["LN.gain"][e] + l["LN.bias"][e]) @ l["W1"][e] + l["b1"][e]) @ l["W2"][e] + l["b2"][e]
            g = torch.sigmoid(s[t, e])
            rows.append(g * z + (1 - g) * h[t])
    return {"y": torch.stack(rows).reshape(2, 9, 6)}


@case("""mix 1
# MultiHash: each half of the hidden axis comes from the expert that a table of its own names.
axis B : batch in 1..64, T : time in 1..64, D = 5, F = 8, N = 2, S = F/N, E : expert = 3, V = 7
layer MultiPart(x: [B,T,N,D], e: int[B,T,N]) -> [B,T,N,D] {
  param W1[E,N,D,S], b1[E,N,S], W2[E,N,S,D]
  yield route x by e to E experts each t { yield relu(t @[D] W1 + b1) @[S] W2 }
}
model M(x: [B,T,D], tokens: int[B,T], map: int[N,V]) -> y: [B,T,D] {
  param b2[D]
  e = map[V = tokens]
  i = outer(f32(index(N) == index(N)), x)
  y = sum(MultiPart(i, e), over=N) + b2
}
""",
      {"x": (2, 5, 5), "tokens": ((2, 5), 7), "map": ((2, 7), 3)})
def multihash(p, x):
    y = p["b2"] + torch.zeros(2, 5, 5)
    for n in range(2):
        e = x["map"][n][x["tokens"]].reshape(10, 1)
        y = y + mix(x["x"].reshape(10, 5), e, torch.ones(10, 1),
                    lambda e, t: relu(t @ p["W1"][e, n] + p["b1"][e, n]) @ p["W2"][e, n]).reshape(2, 5, 5)
    return {"y": y}


@case("""mix 1
use std.norm
# sigma-MoE of 2023: biases, sigmoid weights made to sum to one, minus the entropy of the whole batch. All experts chosen.
axis B : batch in 1..64, T : time in 1..64, D = 5, F = 3, E : expert = 4
model M(x: [B,T,D]) -> y: [B,T,D] {
  y = x + Moe(LN(x))
}
layer Moe(x: [B,T,D]) -> [B,T,D] {
  param Ws[E,D], W1[E,D,F], b1[E,F], W2[E,F,D], b2[E,D]
  yield route x by x @[D] Ws to E experts top 4 gate sigmoid(norm=chosen) noise drop(0.05) balance entropy(0.1) over B*T
      each t { yield relu(t @[D] W1 + b1) @[F] W2 + b2 }
}
""", {"x": (1, 13, 5)})
def sigma_all_experts(p, x):
    x = x["x"].reshape(13, 5)
    n = ln(x, p.at("LN"))
    s = n @ p["Ws"].T
    e = best(s, 4)
    w = torch.sigmoid(torch.gather(s, 1, e))
    y = mix(n, e, w / w.sum(-1, keepdim=True), lambda e, t: relu(t @ p["W1"][e] + p["b1"][e]) @ p["W2"][e] + p["b2"][e])
    return {"y": (x + y).reshape(1, 13, 5), "aux": 0.1 * entropy(torch.softmax(s, -1).mean(0)).sum()}


@case("""mix 1
# SwitchHead with experts in all four projections and one router for both sides (its ablation).
axis B : batch in 1..8, T : time in 1..16, D = 6, H = 2, K = 3, E : expert = 3
model M(x: [B,T,D]) -> y: [B,T,D] causal over T {
  param Wq[H,E,D,K], Wk[H,E,D,K], Wv[H,E,D,K], Wo[H,E,K,D], S[H,E,D]
  r = route by x @[D] S to E experts top 2 gate sigmoid each t
  q = route x by r each t { yield t @[D] Wq }
  k = route x by r each t { yield t @[D] Wk }
  v = route x by r each t { yield t @[D] Wv }
  s = mask(q @[K] k.rename(T -> T') / sqrt(K), keep=index(T') <= index(T))
  a = softmax(s, over=T') @[T'] v.rename(T -> T')
  o = route a by r each t { yield t @[K] Wo }
  y = sum(o, over=H)
}
""", {"x": (2, 7, 6)})
def switchhead_all_experts(p, x):
    x = x["x"]
    y = 0
    for h in range(2):
        z = (x @ p["S"][h].T).reshape(14, 3)
        e = best(z, 2)
        g = torch.sigmoid(torch.gather(z, 1, e))
        part = lambda w, u: mix(u.reshape(14, -1), e, g, lambda e, t: t @ p[w][h, e]).reshape(2, 7, -1)
        a = attend(part("Wq", x), part("Wk", x), part("Wv", x), lower(7))
        y = y + part("Wo", a)
    return {"y": y}


@case("""mix 1
# A zero router: all scores are equal, the first experts win; E = K = 1 beside it, and a capacity that drops the last tokens.
axis B : batch in 1..64, T : time in 1..64, D = 5, F = 3, E : expert = 4, O : expert = 1
model M(x: [B,T,D]) -> y: [B,T,D], z: [B,T,D] {
  y = Moe(x)
  z = One(x)
}
layer Moe(x: [B,T,D]) -> [B,T,D] {
  param Wr[D,E], W1[E,D,F], b1[E,F], W2[E,F,D], b2[E,D]
  yield route x by x @[D] Wr to E experts top 2 capacity rows(floor(6*2*B*T/(5*E))) over B*T balance switch(1) over B*T
      each t { yield gelu(t @[D] W1 + b1) @[F] W2 + b2 }
}
layer One(x: [B,T,D]) -> [B,T,D] {
  param Wr[D,O], W1[O,D,F], b1[O,F], W2[O,F,D], b2[O,D]
  yield route x by x @[D] Wr to O experts top 1 balance switch(1) over B*T each t { yield gelu(t @[D] W1 + b1) @[F] W2 + b2 }
}
""", {"x": (1, 17, 5)}, draw={"Moe.Wr": lambda shape, g: np.zeros(shape)})
def equal_scores(p, x):
    x = x["x"].reshape(17, 5)
    m, o = p.at("Moe"), p.at("One")
    q = torch.softmax(x @ m["Wr"], -1)
    e = best(q, 2)
    assert e.tolist() == [[0, 1]] * 17
    w = torch.gather(q, 1, e) * (places(e) < 6 * 2 * 17 // 20)
    ffn = lambda m: lambda e, t: gelu(t @ m["W1"][e] + m["b1"][e]) @ m["W2"][e] + m["b2"][e]
    return {"y": mix(x, e, w, ffn(m)).reshape(1, 17, 5), "z": ffn(o)(0, x).reshape(1, 17, 5),
            "aux": 4 * (hot(e, 4).mean(0) / 2 * q.mean(0)).sum() + 1}


@case("""mix 1
use std.norm
# WideNet with one assignment for two blocks that follow each other (its routing groups), own norms, and the released code's
# extra gelu behind each expert; and with the place that code wastes.
axis B : batch in 1..8, P = 7, D = 4, F = 6, E : expert = 3, H = 2, N = D/H
layer Att(x: [B,P,D]) -> [B,P,D] {
  param Wq[D,H,N], bq[H,N], Wk[D,H,N], bk[H,N], Wv[D,H,N], bv[H,N], Wo[H,N,D], bo[D]
  k = (x @[D] Wk + bk).rename(P -> P')
  v = (x @[D] Wv + bv).rename(P -> P')
  yield softmax((x @[D] Wq + bq) @[N] k / sqrt(N), over=P') @[P'] v @[H,N] Wo + bo
}
layer Experts(x: [B,P,D]) -> a: [B,P,D], b: [B,P,D] {
  param Wr[D,E], W1[E,D,F], b1[E,F], W2[E,F,D], b2[E,D]
  layer att = Att
  h = x + att(LN[eps=1e-6](x))
  n = LN[eps=1e-6](h)
  r = route by n @[D] Wr to E experts top 2 capacity rows(floor(1.2*2*B*P/E) - 1) over B*P balance switch(0.01) over B*P each t
  y = route n by r each t { yield gelu(gelu(t @[D] W1 + b1) @[F] W2 + b2) }
  a = h + y
  h2 = a + att(LN[eps=1e-6](a))
  n2 = LN[eps=1e-6](h2)
  z = route n2 by r each t { yield gelu(gelu(t @[D] W1 + b1) @[F] W2 + b2) }
  b = h2 + z
}
model M(x: [B,P,D]) -> y: [B,D] {
  a, b = Experts(x)
  y = mean(LN[eps=1e-6](b), over=P)
}
""", {"x": (3, 7, 4)})
def widenet_routing_groups(p, x):
    x, m = x["x"], p.at("Experts")
    names = ["LN", "LN.2", "LN.3", "LN.4"]
    lns = [{"gain": m["Experts." + n + ".gain"] if "Experts." + n + ".gain" in m else m[n + ".gain"],
            "bias": m["Experts." + n + ".bias"] if "Experts." + n + ".bias" in m else m[n + ".bias"]} for n in names]
    a = m.at("att")
    def att(u):
        q, k, v = (torch.einsum("bpd,dhn->bhpn", u, a["W" + c]) + a["b" + c][:, None] for c in "qkv")
        return torch.einsum("bhpn,hnd->bpd", attend(q, k, v), a["Wo"]) + a["bo"]
    ffn = lambda e, t: gelu(gelu(t @ m["W1"][e] + m["b1"][e]) @ m["W2"][e] + m["b2"][e])
    h = x + att(ln(x, lns[0], 1e-6))
    n = ln(h, lns[1], 1e-6).reshape(21, 4)
    q = torch.softmax(n @ m["Wr"], -1)
    e = best(q, 2)
    # places counted from 1, and kept while below floor(1.2*2*S/E)
    w = torch.gather(q, 1, e) * (places(e) + 1 < int(1.2 * 2 * 21 / 3))
    h = h + mix(n, e, w, ffn).reshape(3, 7, 4)
    h = h + att(ln(h, lns[2], 1e-6))
    h = h + mix(ln(h, lns[3], 1e-6).reshape(21, 4), e, w, ffn).reshape(3, 7, 4)
    last = {"gain": p["M.LN.gain"], "bias": p["M.LN.bias"]}
    return {"y": ln(h, last, 1e-6).mean(1), "aux": 0.01 * 3 * (hot(e, 3).mean(0) / 2 * q.mean(0)).sum()}


@case("""mix 1
use std.norm
# sMLP's learned routing of chunks by the whole beginning of each chunk, flattened, not averaged; greedy.
axis B : batch in 1..8, T : time in 5..32, P : time = floor(T/5), W = 6, C = 3, S = W/C, E : expert = 4
model M(p: [B,T,W], n: [B,T,W]) -> y: [B,T,W] causal over T after P {
  param Wr[P,S,E], Ws[E,T,T'] with shape = lower(T, T')
  param bs[E,T]
  c = n.split(W -> C*S)
  r = route by c[T = 0..P -> P] @[P,S] Wr to E experts top 1 gate sigmoid each v
  q = p.split(W -> C*S)
  m = route c by r each v, g { yield v.rename(T -> T') @[T'] Ws + bs }
  a = sum(sigmoid(r.score) * r.chosen, over=E)
  y = (a*q*m + (1 - a) * q).merge(C*S -> W)
}
""", {"p": (2, 11, 6), "n": (2, 11, 6)}, {"T": 11})
def chunks_by_their_beginning(p, x):
    ws = p["Ws"]
    rows = []
    for b in range(2):
        for c in range(3):
            n, q = x["n"][b, :, 2 * c:2 * c + 2], x["p"][b, :, 2 * c:2 * c + 2]
            s = torch.einsum("ps,pse->e", n[:2], p["Wr"])
            e = int(best(s, 1))
            a = torch.sigmoid(s[e])
            m = torch.tril(ws[e, :11, :11]) @ n + p["bs"][e, :11, None]
            rows.append(a * q * m + (1 - a) * q)
    return {"y": torch.stack(rows).reshape(2, 3, 11, 2).permute(0, 2, 1, 3).reshape(2, 11, 6)}


@case("""mix 1
use std.norm
# One mixture used three times: terms of all uses together, tokens of weight 0 left out, weights between 0 and 1.
axis B : batch in 1..8, T : time in 1..32, D = 5, F = 3, E : expert = 4
layer Moe(x: [B,T,D], w: [B,T]) -> [B,T,D] {
  param Wr[D,E], W1[E,D,F], W2[E,F,D]
  yield route x by x @[D] Wr to E experts top 2 gate softmax(norm=chosen) where w
      balance mi(0.3) over B*T pooled, entropy(0.2) over T, switch(0.1) over B*T
      each t { yield silu(t @[D] W1) @[F] W2 }
}
model M(x: [B,T,D], w: [B,T]) -> y: [B,T,D] {
  layer moe = Moe
  y = x
  repeat i in 3 { y = y + moe(LNfree(y), w) }
}
""", {"x": (2, 6, 5), "w": np.array([[1, .5, 0, 1, .25, 1], [0, 0, 1, 1, 1, .75]])})
def pooled_terms(p, x):
    w, y, aux, probs = x["w"].reshape(12), x["x"].reshape(12, 5), 0, []
    for i in range(3):
        n = norm(y)
        q = torch.softmax(n @ p["Wr"], -1)
        e = best(q, 2)
        g = torch.gather(q, 1, e)
        wanted = torch.where(w.detach()[:, None] > 0, e, torch.full_like(e, -1))
        y = y + mix(n, wanted, g / g.sum(-1, keepdim=True), lambda e, t: F.silu(t @ p["W1"][e]) @ p["W2"][e])
        probs.append(q)
        u = w.reshape(2, 6, 1)
        aux = aux + 0.2 * entropy((u * q.reshape(2, 6, 4)).sum(1) / u.sum(1)).sum(-1).mean()
        f = ((hot(e, 4) / 2 * w[:, None]).sum(0) / w.sum()).detach()
        aux = aux + 0.1 * 4 * (f * (w[:, None] * q).sum(0) / w.sum()).sum()
    q, n = torch.stack(probs), 3 * w.sum()
    mean = (w[:, None] * q).sum((0, 1)) / n
    aux = aux + 0.3 * (entropy(mean).sum() - (w[:, None] * entropy(q)).sum() / n)
    return {"y": y.reshape(2, 6, 5), "aux": aux}


@case("""mix 1
# More experts than tokens, most of them empty; a batch of one; k = 1 of 9 with a weight of one, passing on what is dropped.
axis B : batch in 1..8, T : time in 1..32, D = 3, F = 2, E : expert = 9
model M(x: [B,T,D]) -> y: [B,T,D], z: [B,T,D] {
  param Wr[D,E], W1[E,D,F], b1[E,F], W2[E,F,D], Wp[D,E]
  y = route x by x @[D] Wr to E experts top 1 gate one each t { yield tanh(t @[D] W1 + b1) @[F] W2 }
  z = route x by x @[D] Wp to E experts top 3 gate sigmoid capacity rows(1) over B*T overflow pass
      each t { yield tanh(t @[D] W1 + b1) @[F] W2 }
}
""", {"x": (1, 5, 3)})
def more_experts_than_tokens(p, x):
    x = x["x"].reshape(5, 3)
    ffn = lambda e, t: torch.tanh(t @ p["W1"][e] + p["b1"][e]) @ p["W2"][e]
    e = best(x @ p["Wr"], 1)
    y = mix(x, e, torch.ones(5, 1), ffn)
    s = x @ p["Wp"]
    e = best(s, 3)
    g, keep = torch.sigmoid(torch.gather(s, 1, e)), places(e) < 1
    z = mix(x, e, g * keep, ffn) + (g * ~keep).sum(-1, keepdim=True) * x
    return {"y": y.reshape(1, 5, 3), "z": z.reshape(1, 5, 3)}
