#!/usr/bin/env python3
"""The peer of models/gpt.mix in PyTorch: the same network, batch and optimiser, written as a careful user would.

Prints one JSON line: median training and evaluation tokens/s, and the peak resident memory in bytes.
Usage: gpt_torch.py [--layers 6] [--width 384] [--heads 6] [--window 256] [--vocab 65] [--batch 16] [--steps 12] [--threads 2]
"""
import argparse, json, resource, statistics, time
import torch
import torch.nn as nn
import torch.nn.functional as F


class Block(nn.Module):
    def __init__(self, width, heads, window):
        super().__init__()
        self.heads = heads
        self.ln1, self.ln2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.register_buffer("mask", torch.full((window, window), float("-inf")).triu(1))

    def attention(self, x):
        b, t, d = x.shape
        q, k, v = (y.view(b, t, self.heads, -1).transpose(1, 2) for y in self.qkv(x).split(d, dim=2))
        if hasattr(F, "scaled_dot_product_attention"):
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        else:
            s = (q @ k.transpose(-2, -1)) * (q.shape[-1] ** -0.5) + self.mask[:t, :t]
            y = torch.softmax(s, dim=-1) @ v
        return self.out(y.transpose(1, 2).reshape(b, t, d))

    def forward(self, x):
        x = x + self.attention(self.ln1(x))
        h = self.up(self.ln2(x))
        h = F.gelu(h, approximate="tanh")
        return x + self.down(h)


class GPT(nn.Module):
    def __init__(self, a):
        super().__init__()
        self.wte, self.wpe = nn.Embedding(a.vocab, a.width), nn.Embedding(a.window, a.width)
        self.blocks = nn.ModuleList(Block(a.width, a.heads, a.window) for _ in range(a.layers))
        self.ln = nn.LayerNorm(a.width)
        for p in self.parameters():
            if p.dim() > 1:
                nn.init.normal_(p, std=0.02)

    def forward(self, tokens, targets):
        x = self.wte(tokens) + self.wpe.weight[: tokens.shape[1]]
        for block in self.blocks:
            x = block(x)
        logits = F.linear(self.ln(x), self.wte.weight)
        return F.cross_entropy(logits.view(-1, logits.shape[-1]), targets.reshape(-1))


def main():
    p = argparse.ArgumentParser()
    for name, value in (("layers", 6), ("width", 384), ("heads", 6), ("window", 256), ("vocab", 65), ("batch", 16),
                        ("steps", 12), ("threads", 2)):
        p.add_argument("--" + name, type=int, default=value)
    a = p.parse_args()
    torch.set_num_threads(a.threads)
    torch.manual_seed(0)
    model = GPT(a)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.99), weight_decay=0.1)
    tokens = torch.randint(a.vocab, (a.batch, a.window + 1))

    def train_step():
        optimizer.zero_grad(set_to_none=False)
        loss = model(tokens[:, :-1], tokens[:, 1:])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return loss.item()

    def eval_step():
        with torch.no_grad():
            return model(tokens[:, :-1], tokens[:, 1:]).item()

    def rate(step):
        times = []
        for i in range(a.steps + 2):
            begin = time.perf_counter()
            step()
            if i >= 2:
                times.append(time.perf_counter() - begin)
        return a.batch * a.window / statistics.median(times)

    train, evaluate = rate(train_step), rate(eval_step)
    print(json.dumps({"torch": torch.__version__, "train_tokens_per_s": round(train, 1),
                      "eval_tokens_per_s": round(evaluate, 1),
                      "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
                      "parameters": sum(p.numel() for p in model.parameters())}))


main()
