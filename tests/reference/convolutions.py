"""Long convolutions, state spaces and structured products."""
import math
import numpy as np
import torch
from harness import case
from nets import *


def window(T, C, lmax, shift=0.0):
    t = torch.arange(T) / (lmax - 1)
    return torch.exp(-t[:, None] * torch.linspace(math.log(100) / 1.5, math.log(100) / 0.3, C)) + shift


def features(T, e, lmax):
    n = (e - 1) // 2
    f = torch.linspace(1e-4, n - 1, n) if n > 1 else torch.tensor([1e-4])
    a = 2 * math.pi * torch.arange(T)[:, None] / lmax * f
    return torch.cat([torch.arange(T)[:, None] / (lmax - 1), a.cos(), -a.sin()], -1)


def given_features(shape, g):
    return features(shape[0], shape[1], shape[0]).numpy() + 0.1 * g.standard_normal(shape)


def siren(z, p, g=None, inner=2, mod=1.0):
    """The filter's network; g: which of two directions."""
    at = lambda n: p[n] if g is None else p[n][g]
    h = torch.sin(mod * p["f"] * (z @ at("Wi") + at("bi")))
    for l in range(inner):
        h = torch.sin(mod * p["f"] * (h @ at("l%d.W" % l) + at("l%d.b" % l)))
    return h @ at("Wo")


@case("""mix 1
use std.hyena
# Hyena of order 3, with filters normalised over channels, a network with one inner layer and another frequency, and a window that
# does not fade to zero; the text is shorter than the grid.
const N = 9
axis B : batch in 1..8, T : time in 1..N, D = 3, S = 4, R = 2, A = S*D, C = R*D
model M(x: [B,T,D]) -> y: [B,T,D] causal over T {
  param Wi[D,A], bi[A], Wo[D',D], bo[D], skip[R,D']
  u = Short[D=A](x @[D] Wi + bi).split(A -> S*D')
  k = Filter[e=7, o=5, w=2, inner=1, mod=1.5, shift=0.05]()
  k = k / sum(abs(k), over=C)
  k = k.split(C -> R*D')
  v = u[S = 3]
  repeat i in R {
    v = v * u[S = R - i]
    v = fftconv(v, k[R = i], over=T) + skip[R = i] * v
  }
  y = (v * u[S = 0]) @[D'] Wo + bo
}
""", {"x": (2, 7, 3)}, draw={"Filter.z": given_features})
def hyena_order_3(p, x):
    T, D, f = 7, 3, p.at("Filter")
    s = p.at("Short")
    u = (past(x["x"] @ p["M.Wi"] + p["M.bi"], s["w"]) + s["b"]).reshape(2, T, 4, D)
    k = siren(f["z"][:T], f, inner=1, mod=1.5) * window(T, 6, 9, 0.05)
    k = (k / k.abs().sum(-1, keepdim=True)).reshape(T, 2, D)
    v = u[:, :, 3]
    for i in range(2):
        v = v * u[:, :, 2 - i]
        v = causal_conv(v.transpose(1, 2), k[:, i].T).transpose(1, 2) + p["skip"][i] * v
    return {"y": (v * u[:, :, 0]) @ p["M.Wo"] + p["M.bo"]}


def both_ways(u, f, r):
    """u [..,T], f and r [..,T]: r[0] meets the next one."""
    T = u.shape[-1]
    return torch.stack([sum(f[..., n - m] * u[..., m] if m <= n else r[..., m - n - 1] * u[..., m] for m in range(T))
                        for n in range(T)], -1)


@case("""mix 1
use std.norm
use std.hyena
# M2-BERT's older form: a norm before everything, a plain network in place of the gated one, no convolution of the residual, and a
# classifier on the mean of the real positions.
const N = 11
axis B : batch in 1..8, T : time in 1..N, D = 4, S = 3, C = S*D, F = 6, K = 2, P = D/K, Q = F/K, Y = 3
layer Mixer(x: [B,T,D]) -> [B,T,D] {
  param Wi[D,C], bi[C], Wo[D',D], bo[D], skip[D]
  u = Short[D=C](LN(x) @[D] Wi + bi).split(C -> S*D)
  f, r = Filters[C=D, e=3, o=4, w=1]()
  g = u[S = 2] * u[S = 0]
  h = (fftconv(g, f, reverse=r, over=T) + skip*g) * u[S = 1]
  yield h.rename(D -> D') @[D'] Wo + bo
}
model M(x: [B,T,D], seen: [B,T]) -> y: [B,Y] {
  param W1[K,Q,P], W2[K,P,Q], b2[D], Wp[D,D'], bp[D'], Wc[D',Y], bc[Y]
  h = Mixer(x)
  m = gelu(h.split(D -> K*P) @[P] W1) @[Q] W2
  h = LN[eps=1e-12](h + m.merge(K*P -> D) + b2)
  pool = sum(h*seen, over=T) / sum(seen, over=T)
  y = tanh(pool @[D] Wp + bp) @[D'] Wc + bc
}
""", {"x": (3, 7, 4), "seen": np.array([[1.] * 7, [1.] * 4 + [0.] * 3, [1.] + [0.] * 6])}, draw={"Filters.z": given_features})
def m2bert_older_form(p, x):
    T, D, m = 7, 4, p.at("Mixer")
    f = m.at("Filters")
    s = m.at("Short")
    u = (past(ln(x["x"], m.at("LN")) @ p["M.Mixer.Wi"] + p["M.Mixer.bi"], s["w"]) + s["b"]).reshape(3, T, 3, D)
    k = [(siren(f["z"][:T], f, g) * window(T, D, 11)).T for g in range(2)]
    g = u[:, :, 2] * u[:, :, 0]
    h = (both_ways(g.transpose(1, 2), *k).transpose(1, 2) + p["M.Mixer.skip"] * g) * u[:, :, 1]
    h = h @ p["M.Mixer.Wo"] + p["M.Mixer.bo"]
    a = gelu(torch.einsum("btkp,kqp->btkq", h.reshape(3, T, 2, 2), p["W1"]))
    a = torch.einsum("btkq,kpq->btkp", a, p["W2"]).reshape(3, T, 4) + p["b2"]
    h = ln(h + a, {"gain": p["M.LN.gain"], "bias": p["M.LN.bias"]}, 1e-12)
    pool = (h * x["seen"][..., None]).sum(1) / x["seen"].sum(1, keepdim=True)
    return {"y": torch.tanh(pool @ p["Wp"] + p["bp"]) @ p["Wc"] + p["bc"]}


@case("""mix 1
# The long convolution of the FFT library's BERT example: a centred short convolution, no skip, the residual one on the values; and the
# other alignment of the reverse filter, whose first number meets the current position as well.
axis B : batch in 1..8, T : time in 1..16, D = 3, S = 3, C = S*D, J = 3, T1 : time = T - 1
model M(x: [B,T,D], f: [T,D], r: [T,D], f2: [T,D], r2: [T,D]) -> y: [B,T,D], z: [B,T,D] {
  param Wi[D,C], w[C,J], b[C], Wo[D',D], bo[D]
  u = ((x @[D] Wi).window(T -> T*J, pad=same) @[J] w + b).split(C -> S*D)
  v = u[S = 2]
  h = fftconv(v * u[S = 0], f, reverse=r, over=T, gate=u[S = 1]) + fftconv(v, f2, reverse=r2, over=T)
  y = h.rename(D -> D') @[D'] Wo + bo
  z = fftconv(x, f + r * (index(T) == 0), reverse=concat(r[T = 1..T -> T1], 0*r[T = 0], over=T), over=T)
}
""", {"x": (2, 8, 3), "f": (8, 3), "r": (8, 3), "f2": (8, 3), "r2": (8, 3)})
def centred_and_aligned(p, x):
    T = 8
    u = x["x"] @ p["Wi"]
    pad = torch.zeros(2, 1, 9)
    z = torch.cat([pad, u, pad], 1)
    u = (sum(z[:, j:j + T] * p["w"][:, j] for j in range(3)) + p["b"]).reshape(2, T, 3, 3)
    two = lambda v, f, r: both_ways(v.transpose(1, 2), f.T, r.T).transpose(1, 2)
    v = u[:, :, 2]
    h = two(v * u[:, :, 0], x["f"], x["r"]) * u[:, :, 1] + two(v, x["f2"], x["r2"])
    k = x["f"].T, x["r"].T
    z = torch.stack([sum(k[0][:, n - m] * x["x"][:, m] if m <= n else 0 for m in range(T)) +
                     sum(k[1][:, m - n] * x["x"][:, m] for m in range(n, T)) for n in range(T)], 1)
    return {"y": h @ p["Wo"] + p["bo"], "z": z}


@case("""mix 1
use std.h3
# H3 with heads of 2 x 2 channels and a shift of more taps than the text has positions.
axis B : batch in 1..8, T : time in 1..16, D = 6
model M(x: [B,T,D]) -> y: [B,T,D] causal over T { y = H3[p=2, s=9, q=3](x) }
""", {"x": (2, 5, 6)}, draw={"H3.Diagonal.dt": lambda s, g: g.uniform(-4, -1, s), "H3.Diagonal.re": lambda s, g: g.uniform(-1.5, 0, s)})
def h3_heads(p, x):
    d, T = p.at("H3.Diagonal"), 5
    x = x["x"]
    proj = lambda n: torch.einsum("btd,dhi->bhit", x, p["M.H3.W" + n]) + p["M.H3.b" + n][..., None]
    q, k, v = proj("q"), proj("k"), proj("v")
    Bs, Cs = p["M.H3.Bs"], p["M.H3.Cs"]
    shift = torch.stack([(Bs[..., :9 - t] * Cs[..., t:]).sum(-1) for t in range(T)], -1)
    k = causal_conv(k, shift) + p["M.H3.Dk"][..., None] * k
    kv = torch.einsum("bhit,bhjt->bhijt", k, v)
    A = torch.complex(-torch.exp(d["re"]), d["im"])
    step = torch.exp(d["dt"])[:, None]
    bc = torch.complex(d["B"][..., 0], d["B"][..., 1]) * torch.complex(d["C"][..., 0], d["C"][..., 1])
    base = (1 + step * A / 2) / (1 - step * A / 2)
    kappa = torch.stack([2 * (bc * step / (1 - step * A / 2) * base ** l).real.sum(-1) for l in range(T)], -1)
    y = causal_conv(kv, kappa[:, None, None]) + p["M.H3.Dh"][:, None, None, None] * kv
    o = torch.einsum("bhit,bhijt->bhjt", q, y)
    return {"y": torch.einsum("bhjt,hjd->btd", o, p["M.H3.Wo"]) + p["M.H3.bo"]}


@case("""mix 1
use std.norm
use std.hyena
# M2-GPT: heads of two channels share a filter, with the outer product of H3 in each head; no network between the mixers.
const N = 8
axis B : batch in 1..8, T : time in 1..N, V = 9, D = 6, H = 3, I = 2, J = 2, S = 3, C = S*D
layer Mixer(x: [B,T,D]) -> [B,T,D] causal over T {
  param Wi[D,C], bi[C], Wo[H,J,D], bo[D], skip[H]
  u = Short[D=C](x @[D] Wi + bi).split(C -> S*D)
  k = Filter[C=H, e=5, o=4, w=1]()
  kv = outer(u[S = 1].split(D -> H*I), u[S = 2].split(D -> H*J).rename(H -> H'))[H' = index(H)]
  h = u[S = 0].split(D -> H*I) @[I] (fftconv(kv, k, over=T) + skip*kv)
  yield h @[H,J] Wo + bo
}
model M(tokens: int[B,T]) -> logits: [B,T,V] causal over T {
  param Wte[V,D]
  x = Wte[V = tokens]
  repeat l in 2 { x = x + Mixer(LN(x)) }
  logits = LN(x) @[D] Wte
}
""", {"tokens": ((2, 7), 9)}, draw={"Filter.z": given_features})
def m2gpt_outer(p, x):
    T, e = 7, p["Wte"][x["tokens"]]
    for l in range(2):
        q = p.at("l%d" % l)
        m = q.at("Mixer")
        f, s = m.at("Filter"), m.at("Short")
        r = "M.l%d.Mixer." % l
        u = (past(ln(e, q.at("LN")) @ p[r + "Wi"] + p[r + "bi"], s["w"]) + s["b"]).reshape(2, T, 3, 6)
        k = (siren(f["z"][:T], f) * window(T, 3, 8)).T
        a, b, c = (u[:, :, i].reshape(2, T, 3, 2) for i in range(3))
        kv = torch.einsum("bthi,bthj->bhijt", b, c)
        y = causal_conv(kv, k[:, None, None]) + p[r + "skip"][:, None, None, None] * kv
        e = e + torch.einsum("bthi,bhijt,hjd->btd", a, y, p[r + "Wo"]) + p[r + "bo"]
    return {"logits": ln(e, {"gain": p["M.LN.gain"], "bias": p["M.LN.bias"]}) @ p["Wte"].T}


@case("""mix 1
use std.monarch
# Monarch products in place of dense ones where nothing divides anything: Dao's two factors 10 -> 7 and 5 -> 11, blocks of 3, and
# digits 2 x 3 x 5 to 3 x 2 x 4.
axis B : batch in 1..8, D = 10, M = 7, N = 5, L = 11, U = 30, V = 24
model P(x: [B,D], z: [B,N], u: [B,U]) -> a: [B,M], b: [B,L], c: [B,M], d: [B,V] {
  a = MonarchLinear[D, M, k=4](x)
  b = MonarchLinear[N, L, k=4](z)
  c = BlockLinear[D, M, k=3, shuffle=1](x)
  d = Monarch3[U, V, n1=2, n2=3, n3=5, m1=3, m2=2, m3=4](u)
}
""", {"x": (3, 10), "z": (3, 5), "u": (3, 30)})
def monarch_of_any_widths(p, x):
    def dao(x, w1, w2):
        h = torch.einsum("bkp,kqp->bkq", x.reshape(len(x), w1.shape[0], -1), w1).reshape(len(x), -1)
        h = h.reshape(len(x), -1, w2.shape[0])
        return torch.einsum("brl,lsr->bsl", h, w2).reshape(len(x), -1)
    pad = lambda x, n: torch.cat([x, torch.zeros(len(x), n - x.shape[1])], 1)
    q = [p.at("MonarchLinear"), p.at("MonarchLinear.2"), p.at("BlockLinear"), p.at("Monarch3")]
    a = dao(pad(x["x"], 12), p["P.MonarchLinear.Monarch.W1"], p["P.MonarchLinear.Monarch.W2"])[:, :7] + p["P.MonarchLinear.bias"]
    b = dao(pad(x["z"], 8), p["P.MonarchLinear.2.Monarch.W1"], p["P.MonarchLinear.2.Monarch.W2"])[:, :11] + p["P.MonarchLinear.2.bias"]
    s = pad(x["x"], 12).reshape(3, 3, 4).transpose(1, 2).reshape(3, 3, 4)
    c = torch.einsum("bgp,gqp->bgq", s, p["P.BlockLinear.Blocks.W"]).reshape(3, -1)[:, :7] + p["P.BlockLinear.bias"]
    y = torch.einsum("bxyz,yzpx->bpyz", x["u"].reshape(3, 2, 3, 5), q[3]["B1"])
    y = torch.einsum("bpyz,pzqy->bpqz", y, q[3]["B2"])
    d = torch.einsum("bpqz,pqrz->brqp", y, q[3]["B3"]).reshape(3, 24)
    return {"a": a, "b": b, "c": c, "d": d}


@case("""mix 1
# A filter zero behind two places (partial convolution), circular ones of odd and of prime length, and one whose high frequencies
# are set to zero, by sums of cosines.
axis B : batch in 1..8, T : time in 1..16, D = 3, S = 2, Q = floor(T/2) + 1
model P(x: [B,T,D], k: [T,D], s: [S,D], g: [B,T,D]) -> a: [B,T,D], b: [B,T,D], c: [B,T,D] {
  a = fftconv(x, s, over=T, taps=S, gate=g)
  b = fftconv(x, k, over=T, circular=1)
  w = 2*pi/T * outer(index(T), index(Q))
  keep = f32(index(Q) < 3) * select(index(Q) == 0, 1, 2) / T
  re = k @[T] cos(w)
  im = k @[T] sin(w)
  low = (re*keep) @[Q] cos(w) + (im*keep) @[Q] sin(w)
  c = fftconv(x, low, over=T, circular=1)
}
""", {"x": (2, 13, 3), "k": (13, 3), "s": (2, 3), "g": (2, 13, 3)}, {"T": 13})
def partial_and_circular(p, x):
    T = 13
    u = x["x"].transpose(1, 2)
    s = torch.cat([x["s"].T, torch.zeros(3, T - 2)], 1)
    circle = lambda k: torch.stack([sum(k[:, (n - m) % T] * u[..., m] for m in range(T)) for n in range(T)], -1).transpose(1, 2)
    f = torch.fft.fft(x["k"].T)
    low = torch.fft.ifft(torch.where((torch.arange(T) < 3) | (torch.arange(T) > T - 3), f, f * 0)).real
    return {"a": causal_conv(u, s).transpose(1, 2) * x["g"], "b": circle(x["k"].T), "c": circle(low)}
