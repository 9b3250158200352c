"""Models that take other batches than they declare, through every command."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import ocompress
from ocompress import front
from ocompress.front.debugging import debug_quantization
from ocompress.front.survey import survey
from ocompress.ir import Model
from ocompress.pipeline import Numerics, all_passes
from tests.build import Builder

LOSSY = [
    cls.name
    for cls in all_passes()
    if cls.numerics is Numerics.LOSSY and not cls.internal and cls.name != "quant"
]


def net(rows: int) -> Model:
    """Return two convolutions `x [n, 3, 6, 6]` and a Reshape that tells so many rows apart."""
    b = Builder()
    x = b.op("Conv", b.input("x", ["n", 3, 6, 6]), b.weight(16, 3, 3, 3), pads=[1] * 4)
    x = b.op("Conv", b.op("Relu", x), b.weight(12, 16, 1, 1))
    x = b.op("Reshape", x, b.const(np.array([rows, 3, 4, 36])))
    b.output(b.op("ReduceMean", x, axes=[3], keepdims=0, to="y"), ["n", 3, 4])
    return b.model()


def images(*lead: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    return {"x": rng.standard_normal((*lead, 3, 6, 6)).astype(np.float32)}


ROWS = pytest.mark.parametrize(
    ("rows", "data"),
    [(1, images(8)), (2, images(9)), (2, images(4, 2))],
    ids=["one", "two", "two-whole"],
)


@ROWS
def test_validate(rows: int, data: dict[str, np.ndarray]) -> None:
    found = front.validate(net(rows), net(rows), data)
    assert found.passed
    declared = "the model leaves its batch free"
    assert any(declared in remark for remark in found.remarks) is (data["x"].ndim == 4)
    assert (found.samples, found.feeds) == (8, 8 // rows)
    assert found.levels[0].outputs[0].exact


@ROWS
def test_profile(rows: int, data: dict[str, np.ndarray]) -> None:
    found = front.profile(net(rows), data=data, seconds=0.01)
    assert found.inputs[0].shape[0] == rows
    assert not found.model.cost.unknown
    assert front.profile(net(rows), seconds=0.01).inputs[0].shape[0] == rows


@ROWS
@pytest.mark.parametrize("name", LOSSY)
def test_optimize(name: str, rows: int, data: dict[str, np.ndarray]) -> None:
    found = ocompress.optimize(net(rows), passes=name, data=data, measure=False)
    assert found.validation.samples
    declined = found.pipeline.diagnostics.declined(name)
    assert not declined.get("unknown-shape")
    assert not declined.get("not-observed")


@ROWS
def test_quantize_and_compare_layers(
    rows: int, data: dict[str, np.ndarray], tmp_path: Path
) -> None:
    passes = "quant{keep_slower=true}"  # layers of this size do not pay as integers
    made = ocompress.optimize(
        net(rows), tmp_path / "q.onnx", passes=passes, data=data, measure=False
    )
    found = debug_quantization(net(rows), made.pipeline.model, data, measure_sensitivity=True)
    assert found.samples == 8
    assert found.layers
    assert found.sensitivity


def test_survey() -> None:
    found = survey(net(1), data=images(8))
    assert not [p.problem for p in found.prospects if p.problem]
