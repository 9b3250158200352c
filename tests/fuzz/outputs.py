"""Whether two files compute the same in ONNX Runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from ocompress.front.trial import killed_by
from tests.fuzz.mutate import Rng

_TOLERANCE = 2e-3
"""Of the largest number of an output; rounding in odd models with odd weights may reach it."""
_TYPES = {
    "tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(float16)": np.float16,
    "tensor(int64)": np.int64, "tensor(int32)": np.int32, "tensor(int8)": np.int8,
    "tensor(uint8)": np.uint8, "tensor(bool)": np.bool_, "tensor(int16)": np.int16,
    "tensor(string)": object,
}  # fmt: skip
_MOST = 1 << 20


def session(path: Path, *, optimized: bool) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    level = ort.GraphOptimizationLevel
    options.graph_optimization_level = level.ORT_ENABLE_ALL if optimized else level.ORT_DISABLE_ALL
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def random_feeds(inputs: list[ort.NodeArg], rng: Rng) -> dict[str, Any] | None:
    """Draw feeds, None if an input is of a kind that is not drawn."""
    feeds = {}
    for given in inputs:
        shape = tuple(d if isinstance(d, int) and d >= 0 else 3 for d in given.shape)
        kind = _TYPES.get(given.type)
        if kind is None or int(np.prod(shape, dtype=object)) > _MOST:
            return None
        if kind is object:
            feeds[given.name] = np.full(shape, "text", object)
        elif np.dtype(kind).kind == "f":
            feeds[given.name] = rng.standard_normal(shape).astype(kind)
        else:
            feeds[given.name] = rng.integers(0, 2, shape).astype(kind)
    return feeds


def difference(before: Path, after: Path, rng: Rng) -> str:
    """Say how the outputs of two files differ; empty if they do not, or the first does not run."""
    try:
        original = session(before, optimized=False)
        feeds = random_feeds(original.get_inputs(), rng)
        if feeds is None:
            return ""
        names = [o.name for o in original.get_outputs()]
        if killed_by(lambda: original.run(names, feeds)) is not None:
            return ""  # the program could not guess its inputs, or it had refused it
        wanted = original.run(names, feeds)
        if not _alike(original.run(names, feeds), wanted):
            return ""  # random
    except Exception:
        return ""
    try:
        made = session(after, optimized=False)
        kept = {i.name for i in made.get_inputs()}
        got = made.run(names, {n: a for n, a in feeds.items() if n in kept})
    except Exception as error:
        return f"the result does not run: {str(error)[:300]}"
    if _alike(got, wanted):
        return ""
    try:
        other = session(before, optimized=True).run(names, feeds)
    except Exception:
        other = wanted
    if not _alike(other, wanted):
        return ""  # the runtime itself does not agree with itself
    return f"outputs differ: {_short(wanted)} became {_short(got)}"


def _short(arrays: Any) -> str:
    return repr(arrays).replace("\n", " ")[:200]


def _alike(got: Any, wanted: Any) -> bool:
    if isinstance(wanted, list | tuple):
        if not isinstance(got, list | tuple) or len(got) != len(wanted):
            return False
        return all(_alike(a, b) for a, b in zip(got, wanted, strict=True))
    if not isinstance(wanted, np.ndarray):
        return repr(got) == repr(wanted)
    if got.dtype != wanted.dtype or got.shape != wanted.shape:
        return False
    if wanted.dtype.kind != "f":
        return bool(np.array_equal(got, wanted))
    one, two = got.astype(np.float64), wanted.astype(np.float64)
    finite = np.isfinite(two)
    scale = float(np.abs(two[finite]).max(initial=0)) or 1.0
    with np.errstate(all="ignore"):
        return bool(np.allclose(one, two, _TOLERANCE, _TOLERANCE * scale, equal_nan=True))
