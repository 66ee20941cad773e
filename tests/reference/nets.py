"""What the references share: small pieces in PyTorch, each from its equation."""
import math
import torch
import torch.nn.functional as F

gelu = F.gelu
relu = torch.relu


def gelu_tanh(x):
    return x / 2 * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x ** 3)))


def norm(x, eps=1e-5):
    m = x.mean(-1, keepdim=True)
    return (x - m) / torch.sqrt(((x - m) ** 2).mean(-1, keepdim=True) + eps)


def ln(x, p, eps=1e-5):
    return norm(x, eps) * p["gain"] + p["bias"]


def best(s, k):
    """The k largest along the last axis; of equal ones the first."""
    return torch.sort(s.detach(), dim=-1, descending=True, stable=True)[1][..., :k]


def places(index, order=None):
    """index [S,K] of experts, -1: none. The place of each choice at its expert, counted in the given order of (s, k) pairs;
    dropped ones are counted as well."""
    S, K = index.shape
    seen, place = {}, torch.zeros_like(index)
    for s, k in order or [(s, k) for s in range(S) for k in range(K)]:
        e = int(index[s, k])
        if e >= 0:
            place[s, k] = seen.get(e, 0)
            seen[e] = seen.get(e, 0) + 1
        else:
            place[s, k] = 1 << 30
    return place


def choice_major(S, K, turn=None):
    """All first choices, then all second ones; tokens in their order or in that of `turn`."""
    return [(s, k) for k in range(K) for s in (turn if turn is not None else range(S))]


def hot(index, E):
    """How often each expert is named: [S,K] -> [S,E]."""
    return F.one_hot(index.clamp(min=0), E).double().mul((index >= 0).double()[..., None]).sum(-2)


def mix(x, index, weight, expert):
    """Sum over the choices: x [S,..], index and weight [S,K], expert(e, rows)."""
    rows = []
    for s in range(len(x)):
        y = None
        for k in range(index.shape[1]):
            e = int(index[s, k])
            if e >= 0:
                z = weight[s, k] * expert(e, x[s])
                y = z if y is None else y + z
        rows.append(y)
    like = next((r for r in rows if r is not None), None)
    like = expert(0, x[0]) * 0 if like is None else like * 0
    return torch.stack([like if r is None else r for r in rows])


def attend(q, k, v, keep=None, scale=None, bias=None):
    """q [..,T,K], k [..,S,K], v [..,S,M]; keep [T,S] or so; bias is added to the scores."""
    s = torch.einsum("...tk,...sk->...ts", q, k) * (scale if scale is not None else q.shape[-1] ** -0.5)
    if bias is not None:
        s = s + bias
    if keep is not None:
        s = s.masked_fill(~keep, float("-inf"))
    return torch.softmax(s, -1) @ v


def lower(T, S=None):
    S = T if S is None else S
    return torch.ones(T, S).tril(S - T).bool()


def rope(x, n=None, base=10000.0, at=0):
    """x [..,T,K]: pairs (j, j + n/2) of the first n numbers turn by position * base^(-2j/n)."""
    T, K = x.shape[-2:]
    n = K if n is None else n
    j = torch.arange(n // 2, dtype=torch.float64)
    a = (at + torch.arange(T, dtype=torch.float64))[:, None] * base ** (-2 * j / n)
    u, v, rest = x[..., :n // 2], x[..., n // 2:n], x[..., n:]
    return torch.cat([u * a.cos() - v * a.sin(), v * a.cos() + u * a.sin(), rest], -1)


def causal_conv(u, k):
    """u [..,T] with k [..,T]: y[t] = sum of k[s] u[t-s], written as the sum it is."""
    T = u.shape[-1]
    return torch.stack([(u[..., :t + 1] * k[..., :t + 1].flip(-1)).sum(-1) for t in range(T)], -1)


def past(x, w):
    """x [..,T,D], w [D,J]: y[t] = sum over j of w[j] x[t - (J-1) + j]."""
    J, T = w.shape[-1], x.shape[-2]
    z = torch.cat([torch.zeros_like(x[..., :1, :]).expand(*x.shape[:-2], J - 1, x.shape[-1]), x], -2)
    return sum(z[..., j:j + T, :] * w[:, j] for j in range(J))


def entropy(q):
    return torch.where(q > 0, q * torch.log(q.clamp(min=1e-300)), torch.zeros_like(q))


def assignments(scores, m):
    """The even assignment of largest sum, by looking at all of them."""
    J, E = scores.shape
    top, who = -1e30, None
    def go(j, left, total, a):
        nonlocal top, who
        if j == J:
            if total > top:
                top, who = total, list(a)
            return
        for e in range(E):
            if left[e]:
                left[e] -= 1
                a.append(e)
                go(j + 1, left, total + scores[j][e], a)
                a.pop()
                left[e] += 1
    go(0, [m] * E, 0.0, [])
    return torch.tensor(who)
