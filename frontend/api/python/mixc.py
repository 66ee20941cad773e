"""Models written in Mix, on NumPy arrays.

    import mixc, numpy as np
    m = mixc.Model("models/gpt.mix", mode="train", size="tiny", T=32)
    m.init(seed=1)
    for x, y in batches:                                  # int arrays [B, T]
        loss = m.step(tokens=x, targets=y)
    m.save("gpt.safetensors")

    e = mixc.Model("models/gpt.mix", size="tiny", T=32, B=1)
    e.load("gpt.safetensors")
    logits = e(tokens=x[:1])["logits"]                    # [B, T, V]

Model(path, **options) compiles a model for one mode ("eval", "train" or "generate"), binding of sizes and device. Names that are
no options are bindings: T=32, lr=.. inside a section as **{"train.lr": 1e-3}. Errors are mixc.Error, with the diagnostics that
the command line would show. A model is used by one thread at a time; different models by different threads.
"""
import ctypes
import difflib
import json
import math
import os
from ctypes import POINTER, byref, c_char, c_char_p, c_double, c_float, c_int, c_int32, c_int64, c_size_t, c_uint32, c_uint64, c_void_p

import numpy as np

__all__ = ["Model", "Error", "version"]

_MODES = {"eval": 0, "train": 1, "generate": 2}
_KINDS = {"input": 0, "param": 1, "state": 2, "output": 3}


class _Error(ctypes.Structure):
    _fields_ = [("status", c_int), ("text", c_char * 4096)]


class _Options(ctypes.Structure):
    _fields_ = [("mode", c_int), ("size", c_char_p), ("entry", c_char_p), ("bindings", POINTER(c_char_p)), ("device", c_char_p),
                ("threads", c_int), ("bf16", c_int), ("deterministic", c_int), ("max_bytes", c_size_t)]


class _Tensor(ctypes.Structure):
    _fields_ = [("kind", c_int), ("name", c_char_p), ("type", c_int), ("n_axes", c_int), ("axis", c_char_p * 14),
                ("size", c_int64 * 14), ("count", c_int64)]


def _load():
    here = os.path.dirname(os.path.abspath(__file__))
    given = os.environ.get("MIXC_LIBRARY")                # nothing else is taken in its stead
    places = [os.path.join(here, "libmixc.so"), os.path.join(here, "../../../build/libmixc.so"), os.path.join(here, "../../libmixc.so.0"), "libmixc.so.0"]
    for place in [given] if given else places:
        if given or os.path.exists(place) or "/" not in place:
            try:
                return ctypes.CDLL(place)
            except OSError as error:
                last = error
    raise ImportError("libmixc.so was not found (%s); build it, install it, or name it in MIXC_LIBRARY" % last)


def _no_such(name, known):
    near = difflib.get_close_matches(name, known, 3)
    if near:
        return "there is no `%s`; did you mean %s?" % (name, " or ".join("`%s`" % n for n in near))
    names = list(known)
    return "there is no `%s`; there are: %s" % (name, ", ".join(names[:8]) + (", .. (%d)" % len(names) if len(names) > 8 else ""))


def _declare(lib):
    error = POINTER(_Error)
    for name, result, arguments in [
            ("version", c_char_p, []), ("status_text", c_char_p, [c_int]),
            ("open", c_void_p, [c_char_p, POINTER(_Options), error]),
            ("open_text", c_void_p, [c_char_p, c_char_p, POINTER(_Options), error]),
            ("close", None, [c_void_p]), ("warnings", c_char_p, [c_void_p]), ("tensors", c_int, [c_void_p]),
            ("tensor", c_int, [c_void_p, c_int, POINTER(_Tensor), error]), ("find", c_int, [c_void_p, c_int, c_char_p]),
            ("write", c_int, [c_void_p, c_int, c_void_p, c_size_t, error]), ("read", c_int, [c_void_p, c_int, c_void_p, c_size_t, error]),
            ("init", c_int, [c_void_p, c_uint64, error]), ("load", c_int, [c_void_p, c_char_p, error]),
            ("save", c_int, [c_void_p, c_char_p, error]), ("copy_weights", c_int, [c_void_p, c_void_p, error]),
            ("run", c_int, [c_void_p, error]), ("step", c_int, [c_void_p, POINTER(c_float), error]), ("steps", c_int64, [c_void_p]),
            ("generate", c_int, [c_void_p, POINTER(c_int32), c_size_t, c_uint32, c_double, POINTER(c_int32), c_size_t, error]),
            ("memory", c_size_t, [c_void_p]), ("source", c_char_p, [c_void_p, c_char_p])]:
        function = getattr(lib, "mixc_" + name)
        function.restype, function.argtypes = result, arguments
    return lib


_lib = _declare(_load())


def version():
    """The version of the library."""
    return _lib.mixc_version().decode()


class Error(Exception):
    """What went wrong, in words; `status` is the number of mixc.h's MixcStatus."""

    def __init__(self, error):
        self.status = error.status
        text = error.text.decode(errors="replace").strip()
        super().__init__(text or _lib.mixc_status_text(error.status).decode())


def _check(status, error):
    if status:
        raise Error(error)


def _c(text):
    return None if text is None else str(text).encode()


def _whole(name, value):
    """An array of int32, if all numbers are whole and fit."""
    given = np.asarray(value)
    if given.size and given.dtype.kind not in "iub":
        raise TypeError("`%s` holds whole numbers, not %s" % (name, given.dtype))
    if given.size and not (-2**31 <= int(given.min()) and int(given.max()) < 2**31):
        raise ValueError("`%s` holds numbers of 32 bits; %d to %d were given" % (name, given.min(), given.max()))
    return np.asarray(given, np.int32, "C")


class _Tensors:
    """The tensors of one kind, like a dictionary of arrays: m.params["GPT.wte"], m.params["GPT.wte"] = array."""

    def __init__(self, model, kind):
        self._model, self._kind, self._info = model, kind, {}
        for i in range(_lib.mixc_tensors(model._handle)):
            t = _Tensor()
            _check(_lib.mixc_tensor(model._handle, i, byref(t), None), _Error())
            if t.kind == _KINDS[kind]:
                axes = tuple(t.axis[k].decode() for k in range(t.n_axes))
                self._info[t.name.decode()] = (i, np.int32 if t.type else np.float32, tuple(t.size[:t.n_axes]), axes)

    def __repr__(self):
        return "\n".join("%s [%s]" % (name, ", ".join("%s=%d" % pair for pair in zip(axes, shape)))
                         for name, (_, _, shape, axes) in self._info.items())

    def __iter__(self):
        return iter(self._info)

    def __len__(self):
        return len(self._info)

    def __contains__(self, name):
        return name in self._info

    def _find(self, name):
        if name not in self._info:
            raise KeyError(_no_such(name, self._info))
        return self._info[name]

    def count(self):
        """How many numbers they hold together."""
        return sum(math.prod(info[2]) for info in self._info.values())

    def shape(self, name):
        """Sizes, outermost first."""
        return self._find(name)[2]

    def axes(self, name):
        """The names of the axes, outermost first."""
        return self._find(name)[3]

    def __getitem__(self, name):
        index, dtype, shape, _ = self._find(name)
        out, error = np.empty(shape, dtype), _Error()
        _check(_lib.mixc_read(self._model._handle, index, out.ctypes.data_as(c_void_p), out.nbytes, byref(error)), error)
        return out

    def __setitem__(self, name, value):
        index, dtype, shape, axes = self._find(name)
        data, error = _whole(name, value) if dtype == np.int32 else np.asarray(value, dtype, "C"), _Error()
        if data.shape != shape:
            raise ValueError("`%s` is [%s] of shape %s, not %s" % (name, ", ".join(axes), shape, data.shape))
        _check(_lib.mixc_write(self._model._handle, index, data.ctypes.data_as(c_void_p), data.nbytes, byref(error)), error)
        self._model._has_weights |= self._kind == "param"


class Model:
    """A compiled model. `source` is a path, or the text of a model when it has a line break, or the folder of a run: its model
    with its size, its bindings (where none are given here) and its newest weights."""

    def __init__(self, source, mode="eval", *, size=None, entry=None, device=None, threads=0, bf16=False, deterministic=False,
                 max_bytes=0, **bindings):
        self._open, self._mode, self._has_weights = None, mode, False
        if mode not in _MODES:
            raise ValueError("mode is eval, train or generate, not %r" % (mode,))
        run = source if "\n" not in str(source) and os.path.isdir(source) else None
        if run:
            with open(os.path.join(run, "run.json"), encoding="utf-8") as file:
                config = json.load(file)
            source, size = os.path.join(run, "model.mix"), size or config["size"]
            bf16 = bf16 or config["dtype"] == "bf16"
            bindings = {**{b["name"]: b["value"] for b in config["bindings"]}, **bindings}
        texts = [("%s=%s" % item).encode() for item in bindings.items()]
        options = _Options(_MODES[mode], _c(size), _c(entry), (c_char_p * (len(texts) + 1))(*texts, None), _c(device), threads,
                           bool(bf16), bool(deterministic), max_bytes)
        error = _Error()
        if "\n" in str(source):
            self._open = _lib.mixc_open_text(b"model.mix", _c(source), byref(options), byref(error))
        else:
            self._open = _lib.mixc_open(os.fsencode(source), byref(options), byref(error))
        if not self._open:
            raise Error(error)
        self.inputs, self.params = _Tensors(self, "input"), _Tensors(self, "param")
        self.states, self.outputs = _Tensors(self, "state"), _Tensors(self, "output")
        if run:
            self.load(os.path.join(run, "last.safetensors"))

    def __repr__(self):
        return "<mixc.Model, mode %s: %s -> %s, %d numbers in parameters>" % (
            self._mode, ", ".join(self.inputs), ", ".join(name.removeprefix("output.") for name in self.outputs), self.params.count())

    def close(self):
        """Gives the memory back; the model cannot be used any more."""
        if self._open:
            _lib.mixc_close(self._open)
            self._open = None

    @property
    def _handle(self):
        if not self._open:
            raise ValueError("the model is closed")
        return self._open

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def __del__(self):
        if getattr(self, "_open", None):
            self.close()

    @property
    def warnings(self):
        return _lib.mixc_warnings(self._handle).decode()

    @property
    def memory(self):
        """Bytes of the memory plan."""
        return _lib.mixc_memory(self._handle)

    @property
    def steps(self):
        """Training steps taken so far."""
        return _lib.mixc_steps(self._handle)

    def source(self, language="c"):
        """The generated kernels, as "c" or "cuda"."""
        text = _lib.mixc_source(self._handle, _c(language))
        return text.decode() if text else None

    def _call(self, function, *arguments):
        error = _Error()
        _check(function(self._handle, *arguments, byref(error)), error)

    def init(self, seed=0):
        """Initial values of all parameters and states."""
        self._call(_lib.mixc_init, seed)
        self._has_weights = True
        return self

    def load(self, path):
        """Weights of a safetensors file."""
        self._call(_lib.mixc_load, os.fsencode(path))
        self._has_weights = True
        return self

    def save(self, path):
        """All parameters and states, as a safetensors file."""
        self._call(_lib.mixc_save, os.fsencode(path))

    def copy_weights(self, other):
        """The weights that both models have, from the other one."""
        error = _Error()
        _check(_lib.mixc_copy_weights(other._handle, self._handle, byref(error)), error)
        self._has_weights = True
        return self

    def _need_weights(self):
        if self.params and not self._has_weights:
            raise RuntimeError("the model has no weights yet: init() gives it new ones, load(PATH) those of a file")

    def _fill(self, inputs):
        self._need_weights()
        for name, value in inputs.items():
            self.inputs[name] = value

    def __call__(self, **inputs):
        """Runs the model. Returns its results by name ("output." left out), losses as loss.NAME."""
        self._fill(inputs)
        self._call(_lib.mixc_run)
        return {name[7:] if name.startswith("output.") else name: self.outputs[name] for name in self.outputs}

    def step(self, **inputs):
        """One training step. Returns the loss before the update."""
        self._fill(inputs)
        loss = c_float()
        self._call(_lib.mixc_step, byref(loss))
        return loss.value

    def generate(self, prompt, n, *, seed=0, temperature=-1.0):
        """Continues a list of tokens by n tokens (mode "generate"). A negative temperature: as the model says."""
        self._need_weights()
        prompt = _whole("prompt", prompt)
        out = np.empty(n, np.int32)
        pointer = POINTER(c_int32)
        self._call(_lib.mixc_generate, prompt.ctypes.data_as(pointer), prompt.size, seed, temperature, out.ctypes.data_as(pointer), n)
        return out
