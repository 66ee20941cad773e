"""Models written twice: in Mix, and here in PyTorch from the same equations.

A case is a Mix text and a function of the same parameters and inputs that returns the outputs by name and, where the model
has penalties or balance terms, `aux`. Parameters and inputs are drawn here, rounded to float32, and given to both; PyTorch
computes in float64. Outputs have to agree to 1e-5 and gradients of the weighted sum of outputs (plus aux) to 1e-4, as
||got - want|| / ||want||.
"""
import json, os, struct, subprocess, tempfile
import numpy as np
import torch

DTYPES = {"F32": np.float32, "F64": np.float64, "I32": np.int32, "I64": np.int64}
CASES = {}


class Case:
    def __init__(self, reference, text, inputs, sizes, mode, draw, state, tolerance):
        self.reference, self.text, self.inputs, self.sizes = reference, text, inputs, sizes
        self.mode, self.draw, self.state, self.tolerance = mode, draw or {}, state or {}, tolerance


def case(text, inputs, sizes=None, mode="train", draw=None, state=None, tolerance=1e-5):
    """inputs: {name: shape}, {name: (shape, n)} for whole numbers below n, or {name: array}; sizes: bindings of the command
    line; draw: {end of a parameter's name: function of its shape} where the usual numbers will not do."""
    def keep(reference):
        CASES[reference.__name__] = Case(reference, text, inputs, sizes or {}, mode, draw, state, tolerance)
        return reference
    return keep


def write_tensors(path, tensors):
    header, at, blobs = {}, 0, []
    for name, a in tensors.items():
        a = np.asarray(a, order="C")
        dtype = {"float32": "F32", "int32": "I32"}[str(a.dtype)]
        blob = a.tobytes()
        header[name] = {"dtype": dtype, "shape": list(a.shape), "data_offsets": [at, at + len(blob)]}
        at += len(blob)
        blobs.append(blob)
    text = json.dumps(header).encode()
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + b"".join(blobs))


def read_tensors(path):
    with open(path, "rb") as f:
        data = f.read()
    n = struct.unpack("<Q", data[:8])[0]
    out = {}
    for name, t in json.loads(data[8:8 + n]).items():
        if name != "__metadata__":
            begin, end = t["data_offsets"]
            out[name] = np.frombuffer(data[8 + n + begin:8 + n + end], DTYPES[t["dtype"]]).reshape(t["shape"])
    return out


def usual(name, shape, g):
    """Numbers of a size at which every part of a network matters."""
    last = name.rsplit(".", 1)[-1]
    if last == "gain":
        return 1 + 0.3 * g.standard_normal(shape)
    return (0.3 if len(shape) < 2 else 0.6 / max(1, shape[-2]) ** 0.25) * g.standard_normal(shape)


class Params(dict):
    """Parameters by the end of their path: p["l0.LN.gain"] finds Model.l0.LN.gain."""
    def __missing__(self, end):
        found = [k for k in self if k.endswith("." + end)]
        if len(found) != 1:
            raise KeyError("%s: %s of %s" % (end, found, list(self)))
        return self[found[0]]

    def at(self, path):
        """The parameters below a path."""
        return Params({k.split(path + ".", 1)[1]: v for k, v in self.items() if ("." + k).find("." + path + ".") >= 0})


class Failure(Exception):
    pass


def mixc(*words):
    r = subprocess.run([os.environ["MIXC"], *words], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if r.returncode:
        raise Failure("exit %d: mixc %s\n%s" % (r.returncode, " ".join(words), r.stderr))
    return r.stdout


def distance(got, want):
    got, want = got.astype(np.float64), want.astype(np.float64)
    scale = np.linalg.norm(want)
    return np.linalg.norm(got - want) / scale if scale > 1e-10 else np.linalg.norm(got - want)


class Numbers:
    """The files of a case and what the reference makes of them."""
    def __init__(self, c, folder, seed):
        g = np.random.default_rng(seed)
        self.mix, self.w, self.i = (os.path.join(folder, n) for n in ("m.mix", "w.st", "i.st"))
        with open(self.mix, "w") as f:
            f.write(c.text)
        self.bind = ["%s=%s" % kv for kv in c.sizes.items()]
        values = {}
        for p in json.loads(mixc("show", self.mix, "--json", *self.bind))["parameter_list"]:
            name, shape = p["name"], tuple(p["sizes"])
            how = next((f for end, f in c.draw.items() if name.endswith(end)), None)
            a = np.asarray(how(shape, g) if how else usual(name, shape, g)).astype(np.float32).reshape(shape)
            values[name] = a
        inputs = {}
        for name, spec in c.inputs.items():
            if callable(spec):
                spec = spec(g)
            if isinstance(spec, np.ndarray):
                inputs[name] = spec.astype(np.int32 if spec.dtype.kind == "i" else np.float32)
            elif isinstance(spec[-1], int) and spec and isinstance(spec[0], tuple):
                inputs[name] = g.integers(0, spec[1], spec[0]).astype(np.int32)
            else:
                inputs[name] = g.standard_normal(spec).astype(np.float32)
        leaf = lambda a: torch.tensor(a.astype(np.float64), requires_grad=True) if a.dtype.kind == "f" else torch.tensor(a.astype(np.int64))
        p = Params({n: leaf(a) for n, a in values.items()})
        x = Params({n: leaf(a) for n, a in inputs.items()})
        out = c.reference(p, x)
        aux = out.pop("aux", None)
        cot = {n: g.standard_normal(tuple(y.shape)).astype(np.float32) for n, y in out.items() if y.dtype.is_floating_point}
        total = sum((torch.tensor(v.astype(np.float64)) * out[n]).sum() for n, v in cot.items())
        self.want = {"output." + n: y.detach().numpy() for n, y in out.items()}
        if aux is not None:
            total = total + aux
            self.want["loss.aux"] = aux.detach().numpy().reshape(())
        total.backward()
        for kind, group in (("param.", p), ("input.", x)):
            for n, v in group.items():
                if v.requires_grad:
                    self.want["grad." + kind + n] = (v.grad if v.grad is not None else torch.zeros_like(v)).numpy()
        write_tensors(self.w, {**{"param." + n: a for n, a in values.items()}, **{"state." + n: a for n, a in c.state.items()}})
        write_tensors(self.i, {**{"input." + n: a for n, a in inputs.items()}, **{"cotangent." + n: a for n, a in cot.items()}})


def compare(c, numbers, folder, words, loose=1.0):
    """Runs the Mix text with the given words of the command line; returns the differences that are too large."""
    o = os.path.join(folder, "o.st")
    mixc("run", numbers.mix, "--weights", numbers.w, "--inputs", numbers.i, "--out", o, "--grad", "--mode", c.mode,
         "dropout=0", "noise=0", *words, *numbers.bind)
    got, wrong, worst = read_tensors(o), [], 0.0
    for name, want in numbers.want.items():
        if name not in got:
            wrong.append("%s is missing" % name)
            continue
        if got[name].shape != want.shape:
            wrong.append("%s is %s, not %s" % (name, got[name].shape, want.shape))
            continue
        d = distance(got[name], want)
        limit = c.tolerance * loose * (10 if name.startswith("grad.") else 1)
        worst = max(worst, d / limit)
        if not d <= limit:
            wrong.append("%s differs by %.2e (limit %.0e)" % (name, d, limit))
    return wrong, worst


def run(names, ways, seed=1):
    """ways: {name: (words, loose)}. Returns how many cases failed."""
    failed = 0
    for name in names or CASES:
        c = CASES[name]
        with tempfile.TemporaryDirectory() as folder:
            told = []
            try:
                numbers = Numbers(c, folder, seed)
                for way, (words, loose) in ways.items():
                    try:
                        wrong, worst = compare(c, numbers, folder, words, loose)
                        told += ["%s: %s" % (way, w) for w in wrong]
                    except Failure as e:
                        told.append("%s: %s" % (way, e))
            except Failure as e:
                told.append(str(e))
        failed += bool(told)
        print("%-32s %s" % (name, "ok" if not told else "WRONG"), flush=True)
        for t in told:
            print("    " + t.replace("\n", "\n    "))
    return failed
