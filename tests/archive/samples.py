"""Pieces of every form, and models that hold them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from ocompress.archive.cosines import Plane, summed
from ocompress.archive.forms import PieceFacts

FLOAT, INT8, UINT8, INT64, UINT4, INT4, HALF = 1, 3, 2, 7, 21, 22, 10


def levels(seed: int, shape: tuple[int, int], scale: float = 1.5) -> np.ndarray:
    return np.rint(np.random.default_rng(seed).laplace(0, scale, shape)).astype(np.int64)


def _positive_zero(array: np.ndarray) -> np.ndarray:
    return np.asarray(np.add(array, np.float32(0)), np.float32)


def grid(scales: np.ndarray, seed: int = 0) -> np.ndarray:
    """Return values on grids; scales broadcast against [12, 40]."""
    values: np.ndarray = scales.astype(np.float64) * levels(seed, (12, 40))
    return _positive_zero(values)


def _waves(plane: Plane, *, turned: bool = False) -> np.ndarray:
    """Return values [12, 24] that are sums of few cosines."""
    rows = summed(levels(15, (24, 12) if turned else (12, 24), 0.4), plane)
    values: np.ndarray = np.float32(0.0117 // 2**-16 * 2**-16) * rows.astype(np.float64)
    return np.ascontiguousarray(_positive_zero(values).T if turned else _positive_zero(values))


def striped(seed: int) -> np.ndarray:
    """Return integers [40, 30] most of whose columns are nearly zero."""
    values: np.ndarray = levels(seed, (40, 30), 3) * np.where(np.arange(30) % 5, 0.1, 1)
    rounded: np.ndarray = np.rint(values).astype(np.int64)
    return rounded


def _draw(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def _codewords() -> np.ndarray:
    words = _draw(3).standard_normal((6, 8)).astype(np.float32)
    return words[_draw(4).integers(0, 6, 160)]


def _sparse() -> np.ndarray:
    values = _draw(5).standard_normal((30, 40)).astype(np.float32)
    return np.where(_draw(6).random((30, 40)) < 0.1, values, np.float32(0))


PIECES: dict[str, Callable[[], tuple[np.ndarray, PieceFacts, str]]] = {
    "grid of one step": lambda: (
        grid(np.array(0.0371, np.float32)), PieceFacts(FLOAT, 40), "grid"),
    "grid by row": lambda: (
        grid(_draw(1).uniform(0.01, 0.1, (12, 1)).astype(np.float32)),
        PieceFacts(FLOAT, 40), "grid"),
    "grid by row, rounded once": lambda: (
        grid(_draw(1).uniform(0.01, 0.1, (12, 1))), PieceFacts(FLOAT, 40), "grid"),
    "grid by column": lambda: (
        grid(_draw(2).uniform(0.01, 0.1, (1, 40)).astype(np.float32)),
        PieceFacts(FLOAT, 40), "grid"),
    "grid by block": lambda: (
        np.concatenate([grid(_draw(s).uniform(0.01, 0.1, (12, 1)), s)[:, :32] for s in (7, 8)], 1),
        PieceFacts(FLOAT, 64), "grid"),
    "cosines": lambda: (_waves(Plane(4, 6)), PieceFacts(FLOAT, 24), "grid(stored cosines"),
    "cosines of channels": lambda: (
        _waves(Plane(4, 3, 2)), PieceFacts(FLOAT, 24), "grid(stored cosines"),
    "cosines by column": lambda: (
        _waves(Plane(3, 4), turned=True), PieceFacts(FLOAT, 24), "grid(stored transpose(cosines"),
    "palette": lambda: (
        _draw(9).standard_normal(20).astype(np.float32)[_draw(8).integers(0, 20, (20, 30))],
        PieceFacts(FLOAT, 30), "palette"),
    "codewords": lambda: (_codewords(), PieceFacts(FLOAT, 8), "blocks"),
    "few weights": lambda: (_sparse(), PieceFacts(FLOAT, 40), "mask"),
    "floats": lambda: (
        _draw(10).standard_normal((20, 30)).astype(np.float32), PieceFacts(FLOAT, 30), "split"),
    "halves": lambda: (
        _draw(10).standard_normal((20, 30)).astype(np.float16), PieceFacts(HALF, 30), "split"),
    "doubles": lambda: (_draw(10).standard_normal((20, 30)), PieceFacts(11, 30), "split"),
    "int8": lambda: (striped(11).astype(np.int8), PieceFacts(INT8, 30, 3), "integers"),
    "uint8 around 128": lambda: (
        (striped(12) + 128).astype(np.uint8), PieceFacts(UINT8, 30), "integers"),
    "integers by column": lambda: (
        np.ascontiguousarray(striped(13).T).astype(np.int8), PieceFacts(INT8, 40), "transpose"),
    "int4": lambda: (
        (striped(14).clip(-8, 7) & 15).reshape(-1, 2).astype(np.uint8)
        @ np.array([1, 16], np.uint8), PieceFacts(INT4, 30), "packed"),
    "sorted places": lambda: (
        np.cumsum(_draw(15).integers(1, 90, 200)).astype(np.int64),
        PieceFacts(INT64), "delta"),
    "one value": lambda: (np.full(99, 0.1, np.float32), PieceFacts(FLOAT), "constant"),
    "noise": lambda: (_draw(16).integers(0, 256, 300).astype(np.uint8), PieceFacts(), "stored"),
    "few bytes": lambda: (np.arange(5, dtype=np.uint8), PieceFacts(), "stored"),
    "text": lambda: (
        np.frombuffer(b"the cat sat on the mat; it was a fat cat, that was that. " * 3, np.uint8),
        PieceFacts(), "octets"),
    "special floats": lambda: (
        np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1e-45], np.float32)[
            _draw(18).integers(0, 6, (9, 72))], PieceFacts(FLOAT, 72), "palette"),
    "zeros of both signs": lambda: (
        (striped(17) * np.where(_draw(19).random((40, 30)) < 0.1, 0.25, -0.25)).astype(np.float32),
        PieceFacts(FLOAT, 30), "palette"),
}  # fmt: skip


def small_model(seed: int = 0, arrays: dict[str, np.ndarray] | None = None) -> bytes:
    """Return a model whose tensors are coded in three forms, or one of other tensors."""
    arrays = arrays or {
        "w": grid(np.array(0.0371, np.float32), seed),
        "b": _draw(seed).standard_normal(40).astype(np.float32),
        "q": levels(seed, (10, 12), 2).astype(np.int8),
    }
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])],
        [numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    return bytes(helper.make_model(graph, ir_version=9).SerializeToString())


def changed_model() -> bytes:
    """Return the model of three forms with a few other weights."""
    content = bytearray(small_model())
    q = levels(0, (10, 12), 2).astype(np.int8).tobytes()
    w = grid(np.array(0.0371, np.float32), 0).tobytes()
    q_at, w_at = content.index(q), content.index(w)
    for at in (3, 50, 51):
        content[q_at + at] ^= 1
    for at in (5, 90, 300):
        content[w_at + 4 * at : w_at + 4 * at + 4] = np.float32(0.0371 * 4).tobytes()
    return bytes(content)


def tiny_model() -> bytes:
    """Return a model of one tensor."""
    return small_model(arrays={"q": levels(0, (8, 14), 1).astype(np.int8)})


def save_external(folder: str, model: onnx.ModelProto, name: str) -> None:
    """Save a model with all of its tensors in one file beside it."""
    onnx.save(
        model, f"{folder}/{name}", save_as_external_data=True, location=f"{name}.data",
        size_threshold=0,
    )  # fmt: skip
