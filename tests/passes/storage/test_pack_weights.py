"""Weights in fewer bytes, the same to the bit once they are loaded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from ocompress.analysis.cost import count
from ocompress.archive.cosines import Plane, summed
from ocompress.errors import OptionError
from ocompress.io import load_model, save_model
from ocompress.io.loaded import Loaded, as_loaded
from ocompress.ir import DType, Model
from ocompress.runtime import Session
from passes.storage import forms
from passes.storage import pack_weights as module
from passes.storage.steps import with_steps
from tests.build import Builder, feeds
from tests.contract.harness import context
from tests.passes.canonical.exact import Ran


def draw(values: np.ndarray, *shape: int, seed: int = 0) -> np.ndarray:
    return np.asarray(values)[np.random.default_rng(seed).integers(0, len(values), shape)]


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).standard_normal(shape).astype(np.float32)


def sparse(values: np.ndarray, share: float, *shape: int) -> np.ndarray:
    kept = np.random.default_rng(2).random(shape) < share
    return np.asarray(np.where(kept, draw(values, *shape), np.float32(0)), np.float32)


def waves(shape: tuple[int, int], plane: Plane) -> np.ndarray:
    levels = sparse(np.array([-2, -1, 1], np.float32), 0.2, *shape).astype(np.int64)
    return np.asarray(summed(levels, plane) * 2.0**-18, np.float32)


def odd(array: np.ndarray) -> np.ndarray:
    """Put in what compares differently than its bits do."""
    array = array.copy()
    array.reshape(-1)[:4] = [-0.0, np.nan, np.inf, -np.inf]
    array.view(np.uint32).reshape(-1)[4] = 0x7FC12345  # a NaN with a message
    return array


def net(weight: np.ndarray, opset: int = 17) -> Model:
    """Multiply by a weight, or convolve with it."""
    b = Builder()
    w = b.const(weight, "weight")
    if weight.ndim == 4:
        x = b.input("x", ["n", weight.shape[1], 6, 6])
        b.op("Conv", x, w, b.weight(weight.shape[0]), to="y")
        b.output("y", ["n", weight.shape[0], "h", "w"])
    else:
        x = b.input("x", ["n", weight.shape[0]])
        b.op("Relu", b.op("Gemm", x, w, b.weight(weight.shape[1])), to="y")
        b.output("y", ["n", weight.shape[1]])
    return b.model(opset=opset)


def packed(model: Model, path: Path, **options: Any) -> Ran:
    """Run the pass and write the model."""
    after = model.clone()
    ctx = context(after)
    outcome = ctx.run_one(module.PackWeights(**options), after)
    assert bool(outcome) == any(v.packed for v in after.graph.initializers.values())
    save_model(after, path)
    return Ran(model, after, outcome, ctx.diagnostics.of("pack-weights"))


def same(model: Model, path: Path) -> None:
    """Compare outputs of both files, and what the runtime runs, bit for bit."""
    x = feeds(model)
    for name, array in Session(model).run(x).items():
        other = Session(path).run(x)[name]
        assert array.tobytes() == other.tobytes()
    plain, loaded = as_loaded(model), as_loaded(load_model(path))
    assert plain.operators == loaded.operators
    weight = next(v for v in model.graph.initializers.values() if v.name == "weight").constant
    assert weight is not None
    again = loaded.constants["weight"]
    assert (again.dtype, again.tobytes()) == (weight.dtype, weight.tobytes())


@pytest.mark.parametrize("opset", [11, 13, 18, 21])
@pytest.mark.parametrize("bits", [1, 2, 3, 4, 5, 6, 7, 8, 9])
def test_a_palette_takes_its_bits(bits: int, opset: int, tmp_path: Path) -> None:
    values = odd(normal(1 << bits)) if bits > 3 else normal(1 << bits)
    model = net(draw(values, 251, 333), opset)  # an odd number of values
    ran = packed(model, tmp_path / "p.onnx")
    same(model, tmp_path / "p.onnx")
    held = after_bytes(tmp_path / "p.onnx", model, tmp_path)
    assert held <= (bits / 32 + 0.01) * 251 * 333 * 4
    assert ran.after.opset == opset


def after_bytes(path: Path, model: Model, folder: Path) -> int:
    """Return what the packed weight takes, everything that belongs to it included."""
    weight = model.graph.initializers["weight"].constant
    assert weight is not None
    save_model(model, folder / "plain.onnx")
    return path.stat().st_size - (folder / "plain.onnx").stat().st_size + weight.nbytes


def test_blocks_of_a_convolution(tmp_path: Path) -> None:
    slices = normal(256, 9)
    model = net(draw(slices, 128 * 256).reshape(128, 256, 3, 3))
    packed(model, tmp_path / "p.onnx")
    same(model, tmp_path / "p.onnx")
    assert after_bytes(tmp_path / "p.onnx", model, tmp_path) <= 128 * 256 * 9 * 4 / 27


def test_zeros_and_a_palette(tmp_path: Path) -> None:
    model = net(sparse(normal(15), 0.1, 300, 400))
    packed(model, tmp_path / "p.onnx")
    same(model, tmp_path / "p.onnx")
    assert after_bytes(tmp_path / "p.onnx", model, tmp_path) * 8 <= 1.5 * 300 * 400


CASES: dict[str, Callable[[], tuple[np.ndarray, str]]] = {
    "halves": lambda: (normal(40, 50).astype(np.float16).astype(np.float32), "half"),
    "sparse": lambda: (sparse(normal(4000), 0.05, 100, 100), "sparse, gaps of 8 bits, half"),
    "half of zeros": lambda: (sparse(normal(100), 0.45, 200, 200), "sparse, palette, 7 bits"),
    "three in ten": lambda: (
        sparse(normal(15), 0.3, 300, 300),
        "sparse, steps of 4 bits and 16 values in a byte",
    ),
    "far apart": lambda: (
        np.where(np.arange(30000) % 500 < 9, draw(normal(7), 30000), 0).reshape(100, 300),
        "sparse, steps of 5 bits and 8 values in a byte",
    ),
    "sparse floats": lambda: (
        sparse(normal(4000), 0.2, 100, 100),
        "sparse, gaps of 4 bits, plain",
    ),
    "negative zeros": lambda: (
        sparse(np.array([-0.0, 1.5, np.inf], np.float32), 0.15, 300, 300),
        "sparse, gaps of 4 bits, palette, 2 bits",
    ),
    "a scale a row": lambda: (
        draw(np.arange(-7, 8), 64, 128).astype(np.float32) * np.abs(normal(64, 1)),
        "grid, palette, 4 bits",
    ),
    "a scale a column": lambda: (
        draw(np.arange(-100, 101), 64, 128).astype(np.float32) * np.abs(normal(1, 128)),
        "grid, whole",
    ),
    "a scale a filter": lambda: (
        sparse(np.arange(1, 4, dtype=np.float32), 0.1, 32, 16, 3, 3) * np.abs(normal(32, 1, 1, 1)),
        "grid, sparse, steps of 6 bits and 3 values in a byte",
    ),
    "cosines": lambda: (
        waves((64, 96), Plane(8, 12)),
        "cosines, sparse, steps of 6 bits and 3 values in a byte",
    ),
    "cosines by column": lambda: (
        waves((64, 128), Plane(8, 8)).T.copy(),
        "cosines, sparse, steps of 6 bits and 3 values in a byte",
    ),
    "cosines of kernels": lambda: (
        waves((64, 200), Plane(5, 5)).reshape(64, 8, 5, 5),
        "cosines, sparse, steps of 6 bits and 3 values in a byte",
    ),
    "equal rows": lambda: (np.repeat(normal(1, 64), 300, 0), "blocks of 64, 1 bits"),
    "few floats": lambda: (normal(40, 50), "plain"),
}


@pytest.mark.parametrize("name", CASES)
def test_the_form_is_found_by_looking(name: str, tmp_path: Path) -> None:
    weight, form = CASES[name]()
    if name == "sparse":
        weight = weight.astype(np.float16).astype(np.float32)
    assert forms.smallest(weight).name == form
    model = net(weight)
    packed(model, tmp_path / "p.onnx")
    same(model, tmp_path / "p.onnx")


def test_int8_weights_of_a_quantized_layer(tmp_path: Path) -> None:
    b = Builder()
    x = b.input("x", ["n", 256])
    w = b.const(draw(np.arange(-7, 8, dtype=np.int8), 256, 100), "weight")
    scale, zero = b.const(np.float32(0.1)), b.const(np.int8(0))
    b.op("MatMul", x, b.op("DequantizeLinear", w, scale, zero), to="y")
    b.output("y", ["n", 100])
    model = b.model()
    packed(model, tmp_path / "p.onnx")
    x_feed = feeds(model)
    left, right = (Session(m).run(x_feed)["y"] for m in (model, tmp_path / "p.onnx"))
    assert left.tobytes() == right.tobytes()
    assert (tmp_path / "p.onnx").stat().st_size < 0.6 * 256 * 100


def test_what_is_not_restored_stays_plain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = net(draw(normal(16), 100, 100))

    def forgetful(candidate: Model) -> Loaded:
        loaded = as_loaded(candidate)
        if any(v.packed for v in candidate.graph.initializers.values()):
            loaded.constants["weight"] = loaded.constants["weight"] + 1
        return loaded

    monkeypatch.setattr(module, "as_loaded", forgetful)
    ran = packed(model, tmp_path / "p.onnx")
    assert not ran.after.graph.initializers["weight"].packed
    assert "not-restored" in ran.codes


def test_another_pass_sees_the_weight_and_drops_the_form(tmp_path: Path) -> None:
    model = net(draw(normal(16), 100, 100))
    ran = packed(model, tmp_path / "p.onnx")
    value = ran.after.graph.initializers["weight"]
    assert value.packed
    weight = value.constant
    assert weight is not None
    assert value.file_bytes < weight.nbytes / 7
    value.data = weight + 1
    assert value.packed is None


def test_parameters_are_those_of_the_weight_and_bytes_those_of_the_file(tmp_path: Path) -> None:
    model = net(sparse(normal(15), 0.1, 100, 100))
    before, after = count(model), count(packed(model, tmp_path / "p.onnx").after)
    assert (after.parameters, after.nonzero) == (before.parameters, before.nonzero)
    assert after.total_weight_bytes < 0.1 * before.total_weight_bytes


def test_types_without_a_form_are_named(tmp_path: Path) -> None:
    b = Builder()
    weight = b.const(draw(normal(16), 40, 40).astype(DType.BFLOAT16.numpy), "weight")
    b.ops("Cast", [weight], ["wide"], to=TensorProto.FLOAT)
    b.op("MatMul", b.input("x", ["n", 40]), "wide", to="y")
    b.output("y", ["n", 40])
    ran = packed(b.model(), tmp_path / "p.onnx")
    assert not ran.outcome
    assert ran.codes == {"type"}


def test_small_ones_and_old_opsets_stay_plain(tmp_path: Path) -> None:
    weight = draw(normal(16), 100, 100)
    assert not packed(net(weight), tmp_path / "p.onnx", smallest=50_000).outcome
    ran = packed(net(weight, opset=10), tmp_path / "p.onnx")
    assert not ran.outcome
    assert "opset" in ran.codes


@pytest.mark.parametrize(
    ("min_ort", "opset", "native"),
    [
        ("1.15", 21, False),
        ("1.22.1", 21, False),
        ("1.23", 21, True),
        ("1.23", 20, False),
    ],
)
def test_the_oldest_runtime_chooses_the_type_of_four_bits(
    min_ort: str, opset: int, native: bool, tmp_path: Path
) -> None:
    model = net(draw(normal(16), 100, 101), opset)
    ran = packed(model, tmp_path / "p.onnx", min_ort=min_ort)
    same(model, tmp_path / "p.onnx")
    value = ran.after.graph.initializers["weight"]
    assert value.packed is not None
    kinds = {str(leaf.data.dtype) for leaf in value.packed.leaves if leaf.data is not None}
    assert ("uint4" in kinds) is native
    assert after_bytes(tmp_path / "p.onnx", model, tmp_path) < 100 * 101 / 2 + 1000


def test_nothing_is_packed_for_runtimes_that_were_not_tried(tmp_path: Path) -> None:
    ran = packed(net(draw(normal(16), 100, 100)), tmp_path / "p.onnx", min_ort="1.14")
    assert not ran.outcome
    assert "old-runtime" in ran.codes
    with pytest.raises(OptionError, match="give a version such as"):
        module.PackWeights(min_ort="new")


@pytest.mark.parametrize("bits", [4, 8])
def test_steps_reach_all_places(bits: int) -> None:
    rng = np.random.default_rng(bits)
    for first in (0, 1, 3000):
        places = first + np.unique(rng.integers(0, 4000, 40))
        found = with_steps(places, bits)
        steps = np.diff(found, prepend=0)
        assert steps[0] >= 0
        assert (steps[1:] > 0).all()
        assert steps.max() < 1 << bits
        assert np.isin(places, found).all()
        assert len(found) <= len(places) + 7000 // ((1 << bits) - 1)


def test_nine_in_ten_zero_takes_one_bit_and_its_values(tmp_path: Path) -> None:
    model = net(sparse(normal(15), 0.1, 256, 256))
    ran = packed(model, tmp_path / "p.onnx")
    same(model, tmp_path / "p.onnx")
    (row,) = ran.outcome.details["tensors"]
    assert row["bits a weight"] < 1.4
    written = onnx.load(tmp_path / "p.onnx").graph
    assert "ScatterElements" in [n.op_type for n in written.node]
