"""Models of pictures, and the losses and norms that come with them."""
import math
import numpy as np
import torch
from harness import case
from nets import *


def attention(x, p, H):
    q, k, v = (torch.einsum("bpd,dhk->bhpk", x, p["W" + c]) + p["b" + c][:, None] for c in "qkv")
    return torch.einsum("bhpk,hkd->bpd", attend(q, k, v), p["Wo"]) + p["bo"]


@case("""mix 1
use std.norm
# A vision transformer by convolution of its patches, with a class token, the mean over all positions, a hidden layer before the head,
# and the sigmoid loss of V-MoE on labels that are mixed of two.
axis B : batch in 1..8, Y = 6, X = 9, C = 2, Py = 2, Px = 3, Yo = Y/Py, Xo = X/Px, I = Yo*Xo, P = I + 1, D = 6, H = 2, K = 3, F = 5, N = 4
model Vit(image: [B,Y,X,C], want: [B,N]) -> logits: [B,N], loss: [B] {
  param Wp[Py,Px,C,D], bp[D], cls[D], pos[P,D], Wt[D,D'], bt[D'], Wh[D',N], bh[N]
  e = (image.window(Y -> Yo*Py, stride=2).window(X -> Xo*Px, stride=3) @[Py,Px,C] Wp + bp).merge(Yo*Xo -> I)
  x = concat(cls, e, over=P) + pos
  repeat l in 2 {
    param Wq[D,H,K], bq[H,K], Wk[D,H,K], bk[H,K], Wv[D,H,K], bv[H,K], Wo[H,K,D], bo[D], W1[D,F], b1[F], W2[F,D], b2[D]
    n = LN[eps=1e-6](x)
    k = (n @[D] Wk + bk).rename(P -> P')
    v = (n @[D] Wv + bv).rename(P -> P')
    x = x + softmax((n @[D] Wq + bq) @[K] k / sqrt(K), over=P') @[P'] v @[H,K] Wo + bo
    x = x + gelu_tanh(LN[eps=1e-6](x) @[D] W1 + b1) @[F] W2 + b2
  }
  logits = tanh(mean(LN[eps=1e-6](x), over=P) @[D] Wt + bt) @[D'] Wh + bh
  loss = sum(softplus(logits) - logits*want, over=N)
  penalty soft = cross_entropy(logits, want / sum(want, over=N), over=N, smooth=0.2)
}
""", {"image": (2, 6, 9, 2), "want": np.array([[.25, .75, 0, 0], [1., 0, 1, .5]])})
def vit(p, x):
    w = p["Wp"].permute(3, 2, 0, 1)
    e = F.conv2d(x["image"].permute(0, 3, 1, 2), w, p["bp"], stride=(2, 3)).permute(0, 2, 3, 1).reshape(2, 9, 6)
    h = torch.cat([p["cls"].expand(2, 1, 6), e], 1) + p["pos"]
    for l in range(2):
        q = p.at("l%d" % l)
        h = h + attention(ln(h, q.at("LN"), 1e-6), q, 2)
        h = h + gelu_tanh(ln(h, q.at("LN.2"), 1e-6) @ q["W1"] + q["b1"]) @ q["W2"] + q["b2"]
    h = ln(h, {"gain": p["Vit.LN.gain"], "bias": p["Vit.LN.bias"]}, 1e-6).mean(1)
    logits = torch.tanh(h @ p["Wt"] + p["bt"]) @ p["Wh"] + p["bh"]
    loss = F.binary_cross_entropy_with_logits(logits, x["want"], reduction="none").sum(-1)
    soft = x["want"] / x["want"].sum(-1, keepdim=True)
    soft = 0.8 * soft + 0.2 / 4
    return {"logits": logits, "loss": loss, "aux": -(soft * torch.log_softmax(logits, -1)).sum(-1).mean()}


@case("""mix 1
use std.norm
# MLP-Mixer, and M2-ViT's mixing of features by blocks behind it.
use std.monarch
axis B : batch in 1..8, P = 7, S = 5, D = 8, F = 12, N = 3
model Mixer(x: [B,P,D]) -> y: [B,N] {
  param W1[P,S], b1[S], W2[S,P], b2[P], W3[D,F], b3[F], W4[F,D], b4[D], Wh[D,N], bh[N]
  u = x + gelu(LN(x) @[P] W1 + b1) @[S] W2 + b2
  v = u + gelu(LN(u) @[D] W3 + b3) @[F] W4 + b4
  y = mean(LN(v + BlockMlp[k=4](LN(v))), over=P) @[D] Wh + bh
}
""", {"x": (2, 7, 8)})
def mlp_mixer(p, x):
    lns = [{"gain": p["Mixer.LN%s.gain" % n], "bias": p["Mixer.LN%s.bias" % n]} for n in ("", ".2", ".4", ".3")]    # the outer call stands first in the text
    h = x["x"]
    h = h + (gelu(ln(h, lns[0]).transpose(1, 2) @ p["W1"] + p["b1"]) @ p["W2"] + p["b2"]).transpose(1, 2)
    h = h + gelu(ln(h, lns[1]) @ p["W3"] + p["b3"]) @ p["W4"] + p["b4"]
    a, b = "Mixer.BlockMlp.BlockLinear", "Mixer.BlockMlp.BlockLinear.2"
    block = lambda u, n: torch.einsum("bpgi,goi->bpgo", u.reshape(2, 7, 4, -1), p[n + ".Blocks.W"]).reshape(2, 7, -1) + p[n + ".bias"]
    h = h + block(gelu(block(ln(h, lns[2]), b)), a)
    return {"y": ln(h, lns[3]).mean(1) @ p["Wh"] + p["bh"]}


def batch_norm(x, p, name, train, mu=0.0, var=1.0):
    """x [B,C,Y,X]; running averages as they begin."""
    if train:
        return F.batch_norm(x, None, None, p[name + ".gain"], p[name + ".bias"], True, 0.1, 1e-5)
    return (x - mu) / math.sqrt(var + 1e-5) * p[name + ".gain"][:, None, None] + p[name + ".bias"][:, None, None]


CONVMIXER = """mix 1
use std.norm
# ConvMixer: patches, then convolutions of each channel by itself, an even width as well, between batch norms.
axis B : batch in 1..8, Y = 8, X = 6, C = 3, P = 2, Q = 2, Yo = Y/P, Xo = X/Q, D = 4, J = 3, I = 4, N = 3
model Conv(image: [B,Y,X,C]) -> y: [B,N] {
  param Wp[P,Q,C,D], bp[D], Wd[J,I,D], bd[D], W1[D,D'], b1[D'], Wh[D,N], bh[N]
  x = BN(gelu(image.split(Y -> Yo*P).split(X -> Xo*Q) @[P,Q,C] Wp + bp))
  x = x + BN(gelu(x.window(Yo -> Yo*J, pad=same).window(Xo -> Xo*I, pad=same) @[J,I] Wd + bd))
  x = BN(gelu((x @[D] W1 + b1).rename(D' -> D)))
  y = mean(x, over=Yo*Xo) @[D] Wh + bh
}
"""


def convmixer(p, x, train):
    bn = lambda x, n: batch_norm(x, p, "Conv.BN" + n, train, 0.0, 1.0)
    h = F.conv2d(x["image"].permute(0, 3, 1, 2), p["Wp"].permute(3, 2, 0, 1), p["bp"], stride=2)
    h = bn(gelu(h), "")
    z = F.conv2d(F.pad(h, (1, 2, 1, 1)), p["Wd"].permute(2, 0, 1)[:, None], p["bd"], groups=4)
    h = h + bn(gelu(z), ".2")
    h = bn(gelu(torch.einsum("bcyx,cd->bdyx", h, p["W1"]) + p["b1"][:, None, None]), ".3")
    return {"y": h.mean((2, 3)) @ p["Wh"] + p["bh"]}


STATE = {"Conv.BN%s.%s" % (n, s): np.full(4, v, np.float32) for n in ("", ".2", ".3") for s, v in (("mu", 0), ("var", 1))}


@case(CONVMIXER, {"image": (3, 8, 6, 3)}, state=STATE)
def convmixer_train(p, x):
    return convmixer(p, x, True)


@case(CONVMIXER, {"image": (3, 8, 6, 3)}, state=STATE, mode="eval")
def convmixer_eval(p, x):
    return convmixer(p, x, False)


@case("""mix 1
use std.norm
# A residual bottleneck with stride 2 at odd sizes, behind a padded convolution and the largest of each window of 3.
axis B : batch in 1..8, Y = 9, X = 7, C = 2, N = 3, J = 3, I = 3, Y1 = ceil(Y/2), X1 = ceil(X/2), Y2 = ceil(Y1/2), X2 = ceil(X1/2), D = 4, M = 2
model Res(image: [B,Y,X,C]) -> y: [B,N] {
  param W0[J,I,C,D], Wa[D,M], Wb[J,I,M,M'], Wc[M',D'], Ws[D,D'], Wh[D',N], bh[N]
  h = relu(BN(image.window(Y -> Y1*J, stride=2, pad=1).window(X -> X1*I, stride=2, pad=1) @[J,I,C] W0))
  p = max(h.window(Y1 -> Y1*J, pad=same).window(X1 -> X1*I, pad=same), over=J*I)
  a = relu(BN[M](p @[D] Wa))
  b = relu(BN[M'](a.window(Y1 -> Y2*J, stride=2, pad=1).window(X1 -> X2*I, stride=2, pad=1) @[J,I,M] Wb))
  s = p.window(Y1 -> Y2*J, stride=2, pad=1).window(X1 -> X2*I, stride=2, pad=1)[J = 1, I = 1] @[D] Ws
  y = mean(relu(BN[D'](b @[M'] Wc) + BN[D'](s)), over=Y2*X2) @[D'] Wh + bh
}
""", {"image": (2, 9, 7, 2)}, state={"Res.BN%s.%s" % (n, s): np.full(k, v, np.float32) for n, k in
                                      (("", 4), (".2", 2), (".3", 2), (".4", 4), (".5", 4)) for s, v in (("mu", 0), ("var", 1))})
def resnet_block(p, x):
    bn = lambda u, n: batch_norm(u, p, "Res.BN" + n, True)
    oihw = lambda w: w.permute(3, 2, 0, 1)
    h = relu(bn(F.conv2d(x["image"].permute(0, 3, 1, 2), oihw(p["W0"]), stride=2, padding=1), ""))
    h = F.max_pool2d(h, 3, 1, 1)
    a = relu(bn(torch.einsum("bdyx,dm->bmyx", h, p["Wa"]), ".2"))
    b = relu(bn(F.conv2d(a, oihw(p["Wb"]), stride=2, padding=1), ".3"))
    c = bn(torch.einsum("bmyx,md->bdyx", b, p["Wc"]), ".4")
    s = bn(torch.einsum("bdyx,de->beyx", h[:, :, ::2, ::2], p["Ws"]), ".5")
    return {"y": relu(c + s).mean((2, 3)) @ p["Wh"] + p["bh"]}
