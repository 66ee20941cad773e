#!/bin/bash
# The Python module: a model learns on NumPy arrays, agrees with itself when saved and loaded, and explains misuse.
set -eu
python=${PYTHON:-/usr/bin/python3}
"$python" -c 'import numpy' 2>/dev/null || { echo "no NumPy for $python"; exit 77; }
export MIXC_LIBRARY=$(dirname "$MIXC")/libmixc.so PYTHONPATH=$MIXC_TESTS/../frontend/api/python PYTHONDONTWRITEBYTECODE=1
[ -e "$MIXC_LIBRARY" ] || { echo "no $MIXC_LIBRARY"; exit 1; }
if ldd "$MIXC_LIBRARY" | grep -q libasan; then echo "a sanitized library cannot be loaded into Python"; exit 77; fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export MIXC_CACHE_DIR=$work/cache
cd "$work"
if MIXC_LIBRARY=$work/none.so "$python" -c "import mixc" 2>told; then echo "another library was taken"; exit 1; fi
grep -q none.so told || { cat told; exit 1; }
# in a tree that was built, the module finds the library by itself
mkdir -p tree/build tree/frontend/api
ln -s "$MIXC_LIBRARY" tree/build/libmixc.so
cp -r "$MIXC_TESTS/../frontend/api/python" tree/frontend/api/python
env -u MIXC_LIBRARY PYTHONPATH=tree/frontend/api/python "$python" -c "import mixc" || { echo "the library of the tree is not found"; exit 1; }
# the folder of a run
yes "the sea saw the sailor" | head -400 >text.txt
"$MIXC" train "$MIXC_TESTS/../models/gpt.mix" --size tiny --data text.txt data.tokens=bytes V=256 T=16 train.batch=4 --steps 3 --out run >/dev/null
"$python" - <<'PY' || exit 1
import mixc, numpy as np
m = mixc.Model("run")
assert m.inputs["tokens"].shape == (4, 16) and m.params["GPT.Wte"].shape[0] == 256
assert m(tokens=np.full((4, 16), 255))["logits"].shape == (4, 16, 256)
assert mixc.Model("run", B=1).inputs["tokens"].shape == (1, 16)
t = mixc.Model("run", mode="train")
assert t.steps == 3, t.steps
PY
"$python" - "$MIXC_TESTS/../models/gpt.mix" <<'PY'
import sys, threading
import numpy as np, mixc

path = sys.argv[1]
assert mixc.version().count(".") == 2
rng = np.random.default_rng(1)

def windows():
    start = rng.integers(0, 60, (8, 1))
    x = (start + np.arange(16)) % 61
    return x, (x + 1) % 61

m = mixc.Model(path, mode="train", size="tiny", T=16, B=8, **{"train.lr": 5e-3}).init(seed=1)
losses = [m.step(tokens=x, targets=y) for x, y in (windows() for _ in range(250))]
assert losses[0] > 3 and losses[-1] < 1.0, losses[::25]
assert m.steps == 250 and m.memory > 0 and "void k" in m.source()
m.save("m.safetensors")

with mixc.Model(path, size="tiny", T=16, B=8) as e:
    x, y = windows()
    e.load("m.safetensors")
    r = e(tokens=x, targets=y)
    logits = r["logits"]
    assert logits.shape == (8, 16, 65) and logits.dtype == np.float32 and e.outputs.axes("output.logits") == ("B", "T", "V")
    p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    want = -np.take_along_axis(p, y[..., None], -1).mean()
    assert abs(want - r["loss.train"]) < 1e-4, (want, r["loss.train"])
    assert (logits.argmax(-1)[:, 4:] == y[:, 4:]).mean() > 0.9
    # parameters are arrays
    name = "GPT.Wte"
    w = e.params[name]
    e.params[name] = np.zeros_like(w)
    assert np.abs(e(tokens=x)["logits"]).max() == 0
    e.copy_weights(m)
    assert (e.params[name] == w).all()
    for bad, what in ((lambda: e.params["nope"], KeyError), (lambda: e(tokens=x[:1]), ValueError),
                      (lambda: e(tokens=x*1.5), TypeError), (lambda: e(tokens=x + 1000), mixc.Error),
                      (lambda: e.load("nope"), mixc.Error), (lambda: e.step(tokens=x), mixc.Error)):
        try:
            bad()
        except what as error:
            assert len(str(error)) > 10
        else:
            raise AssertionError("no complaint")

    # numbers without axes, numbers that do not fit, and a model that is closed
    m.inputs["lr"] = 0.25
    assert m.inputs["lr"] == 0.25 and m.inputs["lr"].shape == ()
    for bad, what in ((lambda: e(tokens=x.astype(np.int64) + 2**32), ValueError), (lambda: e(tokens=x - 2**40), ValueError)):
        try:
            bad()
        except what as error:
            assert "32 bits" in str(error)
        else:
            raise AssertionError("numbers were cut")
for bad in (lambda: e.params[name], lambda: e(tokens=x), lambda: e.memory, lambda: e.source(), lambda: e.init(), lambda: m.copy_weights(e)):
    try:
        bad()
    except ValueError as error:
        assert "closed" in str(error)
    else:
        raise AssertionError("a closed model was used")

fresh = mixc.Model(path, size="tiny", T=16, B=8)
assert "tokens" in repr(fresh) and "logits" in repr(fresh) and "GPT.Wte [V=65, D=64]" in repr(fresh.params)
assert fresh.params.count() == 108352
try:
    fresh(tokens=x)
except RuntimeError as error:
    assert "init()" in str(error)
else:
    raise AssertionError("a model without weights ran")

g = mixc.Model(path, mode="generate", size="tiny", T=16).load("m.safetensors")
for prompt, what in (([10**8], mixc.Error), ([5, -2], mixc.Error), ([65], mixc.Error), ([2**32 + 5], ValueError), ([1.5], TypeError), ([], mixc.Error)):
    try:
        g.generate(prompt, 3)
    except what as error:
        assert len(str(error)) > 10
    else:
        raise AssertionError("the prompt %s was taken" % prompt)
assert list(g.generate([5, 6, 7, 8], 6, temperature=0)) == [9, 10, 11, 12, 13, 14]

try:
    mixc.Model("mix 1\nmodel M(x: [D]) -> y: [D] { y = x + z }\n")
except mixc.Error as error:
    assert "model.mix:2" in str(error) and error.status == 1
else:
    raise AssertionError("a wrong model was taken")

# two models in two threads
def run(out, seed):
    model = mixc.Model(path, mode="train", size="tiny", T=16, B=8, threads=1).init(seed=seed)
    x = np.tile(np.arange(16) + seed, (8, 1))
    out[seed] = [model.step(tokens=x, targets=x + 1) for _ in range(10)]
alone, together = {}, {}
for seed in (1, 2):
    run(alone, seed)
threads = [threading.Thread(target=run, args=(together, seed)) for seed in (1, 2)]
[t.start() for t in threads]
[t.join() for t in threads]
assert alone == together and alone[1] != alone[2]
print("ok")
PY
