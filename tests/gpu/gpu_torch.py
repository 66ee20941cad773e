"""Peers of run.sh on the GPU, each line `| case | ms |`: training steps of a GPT with torch.compile, attention by SDPA, grouped products
by torch._grouped_mm, a fused softmax in Triton. What is not installed, or fails, is said in its line. Medians of several runs."""
import statistics
import sys
import time

try:
    import torch
    import torch.nn.functional as F
except ImportError as e:
    print(f"| PyTorch | not here: {e} |")
    sys.exit(0)

try:
    import triton
    import triton.language as tl
except ImportError as e:
    triton, no_triton = None, ImportError(str(e))

if not torch.cuda.is_available():
    print(f"| PyTorch {torch.__version__} | no GPU |")
    sys.exit(0)


def median_ms(step, rounds=20):
    for _ in range(3):
        step()
    torch.cuda.synchronize()
    times = []
    for _ in range(rounds):
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        step()
        end.record()
        torch.cuda.synchronize()
        times.append(begin.elapsed_time(end))
    return statistics.median(times)


def case(name, make):
    begin = time.time()
    try:
        print(f"| {name} | {median_ms(make()):.3f} ms |", flush=True)
    except Exception as e:  # a peer that is too old or too new is no failure of ours
        print(f"| {name} | failed: {type(e).__name__}: {str(e).splitlines()[0][:100]} |", flush=True)
    print(f"{name}: {time.time() - begin:.1f} s", file=sys.stderr)


class Block(torch.nn.Module):
    def __init__(self, d, heads):
        super().__init__()
        self.heads = heads
        self.n1, self.n2 = torch.nn.LayerNorm(d), torch.nn.LayerNorm(d)
        self.qkv, self.out = torch.nn.Linear(d, 3 * d), torch.nn.Linear(d, d)
        self.up, self.down = torch.nn.Linear(d, 4 * d), torch.nn.Linear(4 * d, d)

    def forward(self, x):
        b, t, d = x.shape
        q, k, v = (y.view(b, t, self.heads, d // self.heads).transpose(1, 2) for y in self.qkv(self.n1(x)).chunk(3, -1))
        x = x + self.out(F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(b, t, d))
        return x + self.down(F.gelu(self.up(self.n2(x))))


class Gpt(torch.nn.Module):
    def __init__(self, v, t, d, heads, layers):
        super().__init__()
        self.wte, self.wpe = torch.nn.Embedding(v, d), torch.nn.Parameter(torch.randn(t, d) * 0.02)
        self.blocks = torch.nn.ModuleList(Block(d, heads) for _ in range(layers))
        self.norm = torch.nn.LayerNorm(d)

    def forward(self, tokens, targets):
        x = self.wte(tokens) + self.wpe
        for block in self.blocks:
            x = block(x)
        logits = self.norm(x) @ self.wte.weight.t()
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


def gpt_step(dtype):
    # The size `small` of models/gpt.mix in run.sh: L=6 D=384 H=6 T=256 V=65, 64 sequences.
    torch.manual_seed(0)
    model = torch.compile(Gpt(65, 256, 384, 6, 6).cuda())
    best = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    tokens = torch.randint(65, (64, 256), device="cuda")

    def step():
        best.zero_grad(set_to_none=True)
        with torch.autocast("cuda", dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
            loss = model(tokens, tokens)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        best.step()

    return step


def attention():
    q, k, v = (torch.randn(8, 16, 2048, 64, device="cuda", dtype=torch.bfloat16, requires_grad=True) for _ in range(3))

    def step():
        for x in (q, k, v):
            x.grad = None
        F.scaled_dot_product_attention(q, k, v, is_causal=True).sum().backward()

    return step


def attention_forward():
    q, k, v = (torch.randn(8, 16, 2048, 64, device="cuda", dtype=torch.bfloat16) for _ in range(3))
    return lambda: F.scaled_dot_product_attention(q, k, v, is_causal=True)


def expert_layer():
    # Experts of peers.mix, with the tokens sorted by expert beforehand, evenly: both products and what is between.
    rows = torch.randn(2 * 8192, 1024, device="cuda", dtype=torch.bfloat16)
    w1, w2 = (torch.randn(32, 1024, 1024, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    ends = torch.arange(1, 33, device="cuda", dtype=torch.int32) * (2 * 8192 // 32)
    return lambda: torch._grouped_mm(torch.relu(torch._grouped_mm(rows, w1, offs=ends)), w2, offs=ends)


def grouped(experts, hidden, choices):
    tokens, d = 8192, 1024
    rows = torch.randn(tokens * choices, d, device="cuda", dtype=torch.bfloat16)
    w = torch.randn(experts, d, hidden, device="cuda", dtype=torch.bfloat16)
    ends = torch.arange(1, experts + 1, device="cuda", dtype=torch.int32) * (tokens * choices // experts)
    return lambda: torch._grouped_mm(rows, w, offs=ends)


if triton:                                  # at the top of the file, where a kernel's names are looked up

    @triton.jit
    def softmax_kernel(x, y, n, BLOCK: tl.constexpr):
        row, at = tl.program_id(0), tl.arange(0, BLOCK)
        v = tl.load(x + row * n + at, mask=at < n, other=-float("inf"))
        e = tl.exp(v - tl.max(v, axis=0))
        tl.store(y + row * n + at, e / tl.sum(e, axis=0), mask=at < n)


def triton_softmax():
    if not triton:
        raise no_triton
    x = torch.randn(16384, 1024, device="cuda")
    y = torch.empty_like(x)
    return lambda: softmax_kernel[(x.shape[0],)](x, y, x.shape[1], BLOCK=1024)


print(f"| PyTorch {torch.__version__} on {torch.cuda.get_device_name()} | |")
case("GPT step, float32, torch.compile", lambda: gpt_step(torch.float32))
case("GPT step, bf16, torch.compile", lambda: gpt_step(torch.bfloat16))
case("attention 8 x 16 x 2048 x 64, causal, forward and backward, SDPA", attention)
case("attention 8 x 16 x 2048 x 64, causal, forward, SDPA (ours: Attend)", attention_forward)
case("experts 8192 tokens, 32 of 1024, top 2, two torch._grouped_mm without routing (ours: Experts)", expert_layer)
case("grouped product 8192 tokens, 32 experts of 1024, top 2, torch._grouped_mm", lambda: grouped(32, 1024, 2))
case("grouped product 8192 tokens, 128 experts of 256, top 8, torch._grouped_mm", lambda: grouped(128, 256, 8))
case("softmax 16384 x 1024, Triton (ours: Softmax)", triton_softmax)
