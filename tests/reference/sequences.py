"""Models of text: gMLP, Transformers and their kin, recurrent depth."""
import math
import numpy as np
import torch
from harness import case
from nets import *


@case("""mix 1
use std.norm
# A causal gMLP with three spatial matrices (heads), shorter than its grid, and the small attention of aMLP.
axis B : batch in 1..8, T : time in 1..13, D = 5, F = 12, Z = 2, W = F/Z, M = 3, C = W/M, A = 4
model G(x: [B,T,D]) -> y: [B,T,D] causal over T {
  param U[D,Z,W], bu[Z,W], Ws[M,T,T'] with shape = lower(T, T')
  param bs[M,T], Vp[W,D], bv[D], Wq[D,A], Wk[D,A], Wv[D,A], Wo[A,W], bo[W]
  n = LN(x)
  z = gelu(n @[D] U + bu)
  s = mask(n @[D] Wq @[A] (n @[D] Wk).rename(T -> T') / sqrt(A), keep=index(T') <= index(T))
  a = softmax(s, over=T') @[T'] (n @[D] Wv).rename(T -> T') @[A] Wo + bo
  v = LN[W](z[Z = 1]).split(W -> M*C).rename(T -> T')
  g = (v @[T'] Ws + bs).merge(M*C -> W) + a
  y = x + (z[Z = 0] * tanh(g)) @[W] Vp + bv
}
""", {"x": (2, 7, 5)})
def gmlp_heads_and_attention(p, x):
    x, T = x["x"], 7
    lns = [p.at("LN"), p.at("LN.2")]
    n = ln(x, lns[0])
    z = gelu(torch.einsum("btd,dzw->zbtw", n, p["U"]) + p["bu"][:, None, None])
    a = attend(n @ p["Wq"], n @ p["Wk"], n @ p["Wv"], lower(T)) @ p["Wo"] + p["bo"]
    v = ln(z[1], lns[1]).reshape(2, T, 3, 2)
    g = torch.einsum("mts,bsmc->btmc", torch.tril(p["Ws"])[:, :T, :T], v) + p["bs"][:, :T].T[:, :, None]
    return {"y": x + (z[0] * torch.tanh(g.reshape(2, T, 6) + a)) @ p["Vp"] + p["bv"]}


@case("""mix 1
use std.norm
# fairseq's Transformer: embeddings times sqrt(H), sinusoidal positions, tied head, and smoothed labels over real positions.
axis B : batch in 1..8, T : time in 1..16, V = 11, D = 6, J = D/2, H = 2, K = D/H, F = 7
model L(tokens: int[B,T], targets: int[B,T]) -> logits: [B,T,V] causal over T {
  param Wte[V,D]
  angle = outer(index(T), exp(-log(10000) / (J - 1) * index(J)))
  x = Wte[V = tokens] * sqrt(D) + concat(sin(angle), cos(angle), over=D)
  repeat l in 2 {
    param Wq[D,H,K], bq[H,K], Wk[D,H,K], bk[H,K], Wv[D,H,K], bv[H,K], Wo[H,K,D], bo[D], W1[D,F], b1[F], W2[F,D], b2[D]
    n = LN(x)
    k = (n @[D] Wk + bk).rename(T -> T')
    v = (n @[D] Wv + bv).rename(T -> T')
    s = mask((n @[D] Wq + bq) @[K] k / sqrt(K), keep=index(T') <= index(T))
    x = x + softmax(s, over=T') @[T'] v @[H,K] Wo + bo
    x = x + relu(LN(x) @[D] W1 + b1) @[F] W2 + b2
  }
  logits = LN(x) @[D] Wte
  penalty ce = cross_entropy(logits, targets, over=V, smooth=0.1, where=targets != 1)
}
""", {"tokens": ((3, 7), 11), "targets": ((3, 7), 11)})
def fairseq_transformer(p, x):
    T, D, J = 7, 6, 3
    angle = torch.arange(T)[:, None] * torch.exp(-math.log(10000) / (J - 1) * torch.arange(J))
    h = p["Wte"][x["tokens"]] * math.sqrt(D) + torch.cat([angle.sin(), angle.cos()], -1)
    for l in range(2):
        q = p.at("l%d" % l)
        n = ln(h, q.at("LN"))
        a = [torch.einsum("btd,dhk->bhtk", n, q["W" + c]) + q["b" + c][:, None] for c in "qkv"]
        h = h + torch.einsum("bhtk,hkd->btd", attend(*a, lower(T)), q["Wo"]) + q["bo"]
        h = h + relu(ln(h, q.at("LN.2")) @ q["W1"] + q["b1"]) @ q["W2"] + q["b2"]
    logits = ln(h, {"gain": p["L.LN.gain"], "bias": p["L.LN.bias"]}) @ p["Wte"].T
    real = x["targets"] != 1
    return {"logits": logits, "aux": F.cross_entropy(logits[real], x["targets"][real], label_smoothing=0.1)}


@case("""mix 1
use std.norm
# Attention with relative positions and one chunk of memory, as in Transformer-XL: keys from the memory and the chunk, the distance
# i - j looked up in a table of sines, two learned vectors for content and for distance. The memory carries no gradient.
axis B : batch in 1..8, T : time in 1..8, M : time = 4, S = M + T, D = 6, H = 2, K = 3, J = D/2
model X(x: [B,T,D], memory: [B,M,D]) -> y: [B,T,D] {
  param Wq[D,H,K], Wk[D,H,K], Wv[D,H,K], Wr[D,H,K], u[H,K], w[H,K], Wo[H,K,D]
  c = concat(stop(memory), x, over=S)
  angle = outer(index(S), exp(-2*log(10000) / D * index(J)))
  far = concat(sin(angle), cos(angle), over=D) @[D] Wr
  q = x @[D] Wq
  s = (q + u) @[K] (c @[D] Wk).rename(S -> S') + ((q + w) @[K] far)[S = max(index(T) + M - index(S'), 0)]
  a = softmax(mask(s / sqrt(K), keep=index(S') <= index(T) + M), over=S') @[S'] (c @[D] Wv).rename(S -> S')
  y = LN(x + a @[H,K] Wo)
}
""", {"x": (2, 5, 6), "memory": (2, 4, 6)}, {"T": 5})
def memory_of_transformer_xl(p, x):
    T, M = 5, 4
    c = torch.cat([x["memory"].detach(), x["x"]], 1)
    angle = torch.arange(M + T)[:, None] * torch.exp(-2 * math.log(10000) / 6 * torch.arange(3))
    far = torch.einsum("sd,dhk->hsk", torch.cat([angle.sin(), angle.cos()], -1), p["Wr"])
    q, k, v = (torch.einsum("btd,dhk->bhtk", u, p["W" + n]) for u, n in ((x["x"], "q"), (c, "k"), (c, "v")))
    s = torch.einsum("bhtk,bhsk->bhts", q + p["u"][:, None], k)
    d = torch.einsum("bhtk,hsk->bhts", q + p["w"][:, None], far)
    i = (torch.arange(T)[:, None] + M - torch.arange(M + T)).clamp(min=0)
    s = (s + torch.gather(d, 3, i.expand(2, 2, T, M + T))) / math.sqrt(3)
    s = s.masked_fill(~lower(T, M + T), float("-inf"))
    return {"y": ln(x["x"] + torch.einsum("bhtk,hkd->btd", torch.softmax(s, -1) @ v, p["Wo"]), p.at("LN"))}


@case("""mix 1
use std.norm
# BERT with symmetric linear biases (ALiBi), -10000 for padding, post-norm, masked words and the next-sentence task.
axis B : batch in 1..8, T : time in 1..16, V = 13, G = 2, D = 6, H = 3, K = D/H, F = 5
model Bert(tokens: int[B,T], types: int[B,T], seen: [B,T], labels: int[B,T], isnext: int[B]) -> hidden: [B,T,D], nsp: [B,G] {
  param Wte[V,D], Wty[G,D], Wt[D,D'], bt[D'], bv[V], Wp[D,D'], bp[D'], Wn[D',G], bn[G]
  x = LN[eps=1e-12](Wte[V = tokens] + Wty[G = types])
  slope = 2^(-8 * (index(H) + 1) / H)
  far = outer(slope, abs(index(T) - index(T')))
  repeat l in 2 {
    param Wq[D,H,K], Wk[D,H,K], Wv[D,H,K], Wo[H,K,D], bo[D], W1[D,F], b1[F], W2[F,D], b2[D]
    k = (x @[D] Wk).rename(T -> T')
    v = (x @[D] Wv).rename(T -> T')
    s = x @[D] Wq @[K] k / sqrt(K) - far - 10000 * (1 - seen.rename(T -> T'))
    x = LN[eps=1e-12](x + softmax(s, over=T') @[T'] v @[H,K] Wo + bo)
    x = LN[eps=1e-12](x + gelu(x @[D] W1 + b1) @[F] W2 + b2)
  }
  hidden = x
  nsp = tanh(x[T = 0] @[D] Wp + bp) @[D'] Wn + bn
  h = LN[D', eps=1e-12](gelu(x @[D] Wt + bt)).rename(D' -> D)
  penalty mlm = cross_entropy(h @[D] Wte + bv, labels, over=V, where=labels >= 0)
  penalty next_sentence = cross_entropy(nsp, isnext, over=G)
}
""", {"tokens": ((2, 7), 13), "types": ((2, 7), 2), "seen": np.array([[1.] * 7, [1.] * 4 + [0.] * 3]), "isnext": ((2,), 2),
      "labels": np.array([[-100, 3, -100, -100, 0, -100, 12], [5, -100, -100, 1, -100, -100, -100]])})
def bert_with_linear_biases(p, x):
    h = ln(p["Wte"][x["tokens"]] + p["Wty"][x["types"]], {"gain": p["Bert.LN.gain"], "bias": p["Bert.LN.bias"]}, 1e-12)
    slope = 2.0 ** (-8 * (torch.arange(3) + 1) / 3)
    bias = -slope[:, None, None] * (torch.arange(7)[:, None] - torch.arange(7)).abs() - 10000 * (1 - x["seen"])[:, None, None]
    for l in range(2):
        q = p.at("l%d" % l)
        a = attend(*(torch.einsum("btd,dhk->bhtk", h, q["W" + c]) for c in "qkv"), bias=bias)
        h = ln(h + torch.einsum("bhtk,hkd->btd", a, q["Wo"]) + q["bo"], q.at("LN"), 1e-12)
        h = ln(h + gelu(h @ q["W1"] + q["b1"]) @ q["W2"] + q["b2"], q.at("LN.2"), 1e-12)
    nsp = torch.tanh(h[:, 0] @ p["Wp"] + p["bp"]) @ p["Wn"] + p["bn"]
    t = ln(gelu(h @ p["Wt"] + p["bt"]), {"gain": p["Bert.LN.2.gain"], "bias": p["Bert.LN.2.bias"]}, 1e-12)
    mlm = F.cross_entropy((t @ p["Wte"].T + p["bv"]).reshape(-1, 13), x["labels"].reshape(-1))
    return {"hidden": h, "nsp": nsp, "aux": mlm + F.cross_entropy(nsp, x["isnext"])}


@case("""mix 1
use std.norm
# Attention with fewer keys and values than queries (groups of heads), RMS norms, rotated wholly with another base, a window of 3.
axis B : batch in 1..8, T : time in 1..16, D = 8, G = 2, Q = 3, K = 4, H = G*Q
layer RMS(x: [..,D]) -> [..,D] {
  param gain[D]
  yield x * rsqrt(mean(x*x, over=D) + 1e-6) * gain
}
model M(x: [B,T,D]) -> y: [B,T,D] causal over T {
  param Wq[D,G,Q,K], Wk[D,G,K], Wv[D,G,K], Wo[G,Q,K,D], W1[D,H], W3[D,H], W2[H,D]
  n = RMS(x)
  q = rope(n @[D] Wq, over=T, base=500)
  k = rope(n @[D] Wk, over=T, base=500).rename(T -> T')
  v = (n @[D] Wv).rename(T -> T')
  keep = (index(T') <= index(T)) * (index(T) - index(T') < 3)
  h = x + softmax(mask(q @[K] k / sqrt(K), keep=keep), over=T') @[T'] v @[G,Q,K] Wo
  m = RMS(h)
  y = h + (silu(m @[D] W1) * (m @[D] W3)) @[H] W2
}
""", {"x": (2, 7, 8)})
def grouped_queries(p, x):
    x = x["x"]
    rms = lambda u, n: u * torch.rsqrt((u * u).mean(-1, keepdim=True) + 1e-6) * p[n + ".gain"]
    n = rms(x, "M.RMS")
    q = rope(torch.einsum("btd,dgqk->bgqtk", n, p["Wq"]), base=500)
    k = rope(torch.einsum("btd,dgk->bgtk", n, p["Wk"]), base=500)[:, :, None]
    v = torch.einsum("btd,dgk->bgtk", n, p["Wv"])[:, :, None]
    keep = lower(7) & ~lower(7).tril(-3)
    h = x + torch.einsum("bgqtk,gqkd->btd", attend(q, k.expand_as(q), v.expand_as(q), keep), p["Wo"])
    m = rms(h, "RMS.2")
    return {"y": h + (F.silu(m @ p["W1"]) * (m @ p["W3"])) @ p["W2"]}


MOEUT = """mix 1
use std.norm
use std.rope
# MoEUT's ablations: {what}
axis B : batch in 1..8, T : time in 1..16, V = 9, D = 6, H = 2, K = 5, E : expert = 5, F = 3, Ea : expert = 3
layer Ffn(x: [B,T,D], n: [B,T,D]) -> [B,T,D] causal over T {{
  param Ws[E,D], W1[E,D,F], W2[E,F,D]
  yield route x by n @[D] Ws to E experts top 3 gate sigmoid balance entropy(0.1) over T pooled each t {{ yield relu(t @[D] W1) @[F] W2 }}
}}
layer Att(n: [B,T,D], x: [B,T,D]) -> [B,T,D] causal over T {{
  param Wq[D,H,K], Wk[D,H,K], Wv[H,Ea,D,K], Wo[H,Ea,K,D], Sv[H,Ea,D], So[H,Ea,D]
  rv = route by n @[D] Sv to Ea experts top 2 gate sigmoid balance entropy(0.05) over T pooled each t
  ro = route by n @[D] So to Ea experts top 2 gate sigmoid balance entropy(0.05) over T pooled each t
  v = route x by rv each t {{ yield t @[D] Wv }}
  q = rope(n @[D] Wq, over=T, part=2*floor(K/4))
  k = rope(n @[D] Wk, over=T, part=2*floor(K/4)).rename(T -> T')
  a = softmax(mask(q @[K] k / sqrt(K), keep=index(T') <= index(T)), over=T') @[T'] v.rename(T -> T')
  o = route a by ro each t {{ yield t @[K] Wo }}
  yield sum(o, over=H)
}}
layer Block(x: [B,T,D]) -> [B,T,D] causal over T {{
  {block}
}}
model M(tokens: int[B,T]) -> logits: [B,T,V] causal over T {{
  param Wte[V,D], Wout[D,V], bout[V]
  x = {start}
  {order}
  logits = {end} @[D] Wout + bout
}}
"""


def moeut(p, x, block, order, start, end):
    """REG as minus the entropy of the mean over a sequence and over all uses of a layer."""
    T, stats = 7, {}
    def note(key, s):
        stats.setdefault(key, []).append(torch.softmax(s, -1))
        return s
    def routed(s, k, u, expert):
        B = u.shape[0]
        e = best(s.reshape(B * T, -1), k)
        w = torch.sigmoid(torch.gather(s.reshape(B * T, -1), 1, e))
        return mix(u.reshape(B * T, -1), e, w, expert).reshape(B, T, -1)
    def att(q, key, n, u):
        y = 0
        for h in range(2):
            sv, so = note((key, "v", h), n @ q["Sv"][h].T), note((key, "o", h), n @ q["So"][h].T)
            v = routed(sv, 2, u, lambda e, t: t @ q["Wv"][h, e])
            a = attend(rope(n @ q["Wq"][:, h], 2), rope(n @ q["Wk"][:, h], 2), v, lower(T))
            y = y + routed(so, 2, a, lambda e, t: t @ q["Wo"][h, e])
        return y
    def ffn(q, key, u, n):
        s = note((key, "f"), n @ q["Ws"].T)
        return routed(s, 3, u, lambda e, t: relu(t @ q["W1"][e]) @ q["W2"][e])
    h = start(p["Wte"][x["tokens"]])
    for g in order:
        q = p.at(g)
        h = block(h, lambda n, u: att(q.at("Att"), g, n, u), lambda u, n: ffn(q.at("Ffn"), g, u, n), q.at("LN"), q.at("LN.2"))
    aux = 0
    for key, s in stats.items():
        mean = torch.stack(s).mean((0, 2))
        aux = aux + (0.1 if key[1] == "f" else 0.05 / 2) * entropy(mean).sum(-1).mean()
    return {"logits": end(h) @ p["Wout"] + p["bout"], "aux": aux}


@case(MOEUT.format(what="post-norm, the embedding times sqrt(d) and normalised without weights", start="LNfree(Wte[V = tokens] * sqrt(D))",
                   block="h = LN(x + Att(x, x))\n  yield LN(h + Ffn(h, h))", end="x",
                   order="repeat r in 2 { repeat g in 2 { x = Block(x) tied over r } }"), {"tokens": ((2, 7), 9)})
def moeut_post_norm(p, x):
    block = lambda h, att, ffn, n1, n2: (lambda u: ln(u + ffn(u, u), n2))(ln(h + att(h, h), n1))
    order = ["%s" % g for r in range(2) for g in GROUPS(p)]
    return moeut(p, x, block, order, lambda e: norm(e * math.sqrt(6)), lambda h: h)


@case(MOEUT.format(what="pre-norm, and the order of the group is A A B B", start="Wte[V = tokens]",
                   block="n = LN(x)\n  h = x + Att(n, n)\n  m = LN(h)\n  yield h + Ffn(m, m)", end="LN(x)",
                   order="repeat g in 2 { repeat r in 2 { x = Block(x) tied over r } }"), {"tokens": ((2, 7), 9)})
def moeut_pre_norm_aabb(p, x):
    def block(h, att, ffn, n1, n2):
        n = ln(h, n1)
        h = h + att(n, n)
        n = ln(h, n2)
        return h + ffn(n, n)
    order = [g for g in GROUPS(p) for r in range(2)]
    return moeut(p, x, block, order, lambda e: e, lambda h: ln(h, {"gain": p["M.LN.gain"], "bias": p["M.LN.bias"]}))


def GROUPS(p):
    """The paths of the two layers of a group."""
    return sorted({k[:k.index(".Block") + 6].split("M.", 1)[1] for k in p if ".Block" in k})


def act(kind):
    return """mix 1
use std.norm
# Universal Transformer with adaptive computation time, %s, as in tensor2tensor: positions and steps are marked anew each time.
axis B : batch in 1..8, T : time in 1..16, D = 6, J = D/2, R = 4, F = 5
layer Step(x: [B,T,D]) -> [B,T,D] {
  param Wq[D,D'], Wk[D,D'], Wv[D,D'], Wo[D',D], W1[D,F], b1[F], W2[F,D], b2[D]
  n = LN(x)
  s = n @[D] Wq @[D'] (n @[D] Wk).rename(T -> T') / sqrt(D)
  h = x + softmax(s, over=T') @[T'] (n @[D] Wv).rename(T -> T') @[D'] Wo
  yield h + relu(LN(h) @[D] W1 + b1) @[F] W2 + b2
}
model UT(x: [B,T,D]) -> y: [B,T,D], n_steps: [B,T] {
  param w[D], b[], steps[R,D]
  layer step = Step
  angle = outer(index(T), exp(-log(10000) / (J - 1) * index(J)))
  place = concat(sin(angle), cos(angle), over=D)
  h = x
  prev = 0 * x
  hp = full(0, over=B*T)
  rem = full(0, over=B*T)
  n = full(0, over=B*T)
  repeat i in R {
    u = h + place + steps[R = i]
    p = sigmoid(u @[D] w + b)
    live = f32(hp < 1)
    ends = live * (hp + p*live > 0.9)
    goes = live * (hp + p*live <= 0.9)
    left = 1 - hp - p*goes
    g = p*goes + ends*left
    rem = rem + ends*left
    hp = hp + p*goes + ends*left
    n = n + goes + ends
    h = step(u)
    prev = %s
  }
  penalty ponder = 0.01 * mean(n + rem, over=B*T)
  y = prev
  n_steps = n
}
""" % (("the basic form", "h*g + prev * (1 - g)") if kind == "basic" else ("states added up", "prev + h*g"))


def computation_time(p, x, basic):
    s, h = p.at("Step") if any(".Step." in k for k in p) else p.at("step"), x["x"]
    T, J = h.shape[1], 3
    angle = torch.arange(T)[:, None] * torch.exp(-math.log(10000) / (J - 1) * torch.arange(J))
    place = torch.cat([angle.sin(), angle.cos()], -1)
    prev, (hp, rem, n) = torch.zeros_like(h), torch.zeros(3, *h.shape[:2])
    for i in range(4):
        h = h + place + p["steps"][i]
        q = torch.sigmoid(h @ p["w"] + p["b"])
        live = (hp < 1).double()
        ends = live * (hp + q * live > 0.9)
        live = live * (hp + q * live <= 0.9)
        hp = hp + q * live
        rem = rem + ends * (1 - hp)
        g = q * live + ends * (1 - hp)
        hp = hp + ends * (1 - hp)
        n = n + live + ends
        m = ln(h, s.at("LN"))
        h = h + attend(m @ s["Wq"], m @ s["Wk"], m @ s["Wv"]) @ s["Wo"]
        h = h + relu(ln(h, s.at("LN.2")) @ s["W1"] + s["b1"]) @ s["W2"] + s["b2"]
        prev = h * g[..., None] + (prev * (1 - g[..., None]) if basic else prev)
    return {"y": prev, "n_steps": n, "aux": 0.01 * (n + rem).mean()}


@case(act("basic"), {"x": (2, 5, 6)})
def act_basic(p, x):
    return computation_time(p, x, True)


@case(act("accumulated"), {"x": (2, 5, 6)})
def act_accumulated(p, x):
    return computation_time(p, x, False)


@case("""mix 1
use std.norm
# ALBERT in two groups of shared blocks, words narrower than the network, the tasks at chosen places only.
axis B : batch in 1..8, T : time in 1..16, A = 3, V = 11, W = 3, D = 6, H = 2, K = D/H, F = 7, G = 2, L = 4
layer Block(x: [B,T,D], seen: [B,T]) -> [B,T,D] {
  param Wq[D,H,K], bq[H,K], Wk[D,H,K], bk[H,K], Wv[D,H,K], bv[H,K], Wo[H,K,D], bo[D], W1[D,F], b1[F], W2[F,D], b2[D]
  k = (x @[D] Wk + bk).rename(T -> T')
  v = (x @[D] Wv + bv).rename(T -> T')
  s = mask((x @[D] Wq + bq) @[K] k / sqrt(K), keep=seen.rename(T -> T'))
  a = LN[eps=1e-12](x + softmax(s, over=T') @[T'] v @[H,K] Wo + bo)
  yield LN[eps=1e-12](a + gelu_tanh(a @[D] W1 + b1) @[F] W2 + b2)
}
model Albert(tokens: int[B,T], seen: [B,T], places: int[B,A], targets: int[B,A], real: [B,A]) -> mlm: [B,A,V] {
  param Wte[V,W], Wpe[T,W], M[W,D], bm[D], Wt[D,W], bt[W], bv[V]
  x = LN[W, eps=1e-12](Wte[V = tokens] + Wpe) @[W] M + bm
  repeat g in G { repeat l in L/G { x = Block(x, seen) tied over l } }
  mlm = LN[W, eps=1e-12](gelu_tanh(x[T = places] @[D] Wt + bt)) @[W] Wte + bv
  lse = logsumexp(mlm, over=V)
  hit = mlm[V = targets]
  penalty mlm = sum((lse - hit) * real, over=B*A) / (sum(real, over=B*A) + 1e-5)
}
""", {"tokens": ((2, 7), 11), "seen": np.array([[1.] * 7, [1.] * 5 + [0.] * 2]), "places": np.array([[0, 6, 2], [4, 4, 1]]),
      "targets": ((2, 3), 11), "real": np.array([[1., 1., 1.], [1., 0., 1.]])})
def albert_groups(p, x):
    e = ln(p["Wte"][x["tokens"]] + p["Wpe"][:7], p.at("Albert.LN"), 1e-12) @ p["M"] + p["bm"]
    for g in range(2):
        q = p.at("g%d.Block" % g) if any(".g%d.Block" % g in k for k in p) else p.at("l%d.Block" % g)
        for l in range(2):
            a = [torch.einsum("btd,dhk->bhtk", e, q["W" + c]) + q["b" + c][:, None] for c in "qkv"]
            a = attend(*a, keep=(x["seen"] > 0)[:, None, None].expand(2, 2, 7, 7))
            e = ln(e + torch.einsum("bhtk,hkd->btd", a, q["Wo"]) + q["bo"], q.at("LN"), 1e-12)
            e = ln(e + gelu_tanh(e @ q["W1"] + q["b1"]) @ q["W2"] + q["b2"], q.at("LN.2"), 1e-12)
    t = torch.gather(e, 1, x["places"][..., None].expand(2, 3, 6))
    mlm = ln(gelu_tanh(t @ p["Wt"] + p["bt"]), p.at("Albert.LN.2"), 1e-12) @ p["Wte"].T + p["Albert.bv"]
    each = torch.logsumexp(mlm, -1) - torch.gather(mlm, 2, x["targets"][..., None])[..., 0]
    return {"mlm": mlm, "aux": (each * x["real"]).sum() / (x["real"].sum() + 1e-5)}
