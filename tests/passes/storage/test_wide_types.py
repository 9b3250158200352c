"""Constants of wide types, which narrower ones or few values often have as well."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ocompress.io import load_model, save_model
from ocompress.io.loaded import as_loaded
from ocompress.ir import DType, Model
from ocompress.runtime import Session
from passes.storage.narrowing import narrowed
from passes.storage.pack_weights import PackWeights
from tests.build import Builder
from tests.contract.harness import context

RNG = np.random.default_rng(0)
NORMAL = RNG.standard_normal((40, 64))
INDICES = RNG.integers(0, 5000, (40, 64))


def net(constant: np.ndarray) -> Model:
    """Add something to a constant, or choose by it."""
    b = Builder()
    held = b.const(constant, "held")
    if constant.dtype == np.bool_:
        b.op("Where", held, b.input("x", list(constant.shape)), b.const(np.float32(0)), to="y")
    else:
        kind = DType.of(constant)
        b.op("Add", b.input("x", list(constant.shape), int(kind)), held, to="y")
    b.output("y", list(constant.shape), 1 if constant.dtype == np.bool_ else int(kind))
    return b.model()


CASES = {
    "float64 that float32 has": (NORMAL.astype(np.float32).astype(np.float64), "widened", 0.55),
    "float64 of few values": (RNG.choice(NORMAL[0, :16], (40, 64)), "palette", 0.15),
    "float64 of few narrow values": (
        RNG.choice(NORMAL[0, :16].astype(np.float32).astype(np.float64), (40, 64)),
        "palette",
        0.15,
    ),
    "float64, mostly zero": (np.where(RNG.random((40, 64)) < 0.1, NORMAL, 0.0), "sparse", 0.25),
    "integers of 13 bits": (INDICES, "widened", 0.3),
    "integers of few values": (INDICES % 16, "palette", 0.15),
    "negative integers": (INDICES - 100_000, "widened", 0.55),
    "int32 of 8 bits": ((INDICES % 251).astype(np.int32), "widened", 0.35),
    "a mask": (RNG.random((40, 64)) < 0.5, "palette", 0.4),
}


@pytest.mark.parametrize("name", CASES)
def test_a_narrower_form_gives_back_every_bit(name: str, tmp_path: Path) -> None:
    constant, form, part = CASES[name]
    model = net(constant)
    after = model.clone()
    ctx = context(after)
    outcome = ctx.run_one(PackWeights(), after)
    assert outcome
    (row,) = outcome.details["tensors"]
    assert row["form"].startswith(form)
    save_model(model, tmp_path / "plain.onnx")
    save_model(after, tmp_path / "packed.onnx")
    sizes = [(tmp_path / f"{which}.onnx").stat().st_size for which in ("plain", "packed")]
    assert sizes[1] < part * sizes[0] + 1000
    again = as_loaded(load_model(tmp_path / "packed.onnx")).constants["held"]
    assert (again.dtype, again.tobytes()) == (constant.dtype, constant.tobytes())
    x = np.ones(constant.shape, np.float32 if constant.dtype == np.bool_ else constant.dtype)
    found = Session(tmp_path / "packed.onnx").run({"x": x})["y"]
    assert found.tobytes() == Session(model).run({"x": x})["y"].tobytes()


@pytest.mark.parametrize(
    ("array", "dtype"),
    [
        (np.array([1.5, -0.0, np.inf]), np.float32),
        (np.array([0.1]), None),
        (np.array([1e300]), None),
        (np.array([0, 255]), np.uint8),
        (np.array([-1, 127]), np.int8),
        (np.array([-1, 128]), np.int16),
        (np.array([0, 65535]), np.uint16),
        (np.array([-1, 65535]), np.int32),
        (np.array([1 << 40]), None),
        (np.array([1 << 20], np.int32), None),
        (np.array([1], np.float32), None),
    ],
)
def test_the_narrowest_type_that_has_all(array: np.ndarray, dtype: type | None) -> None:
    found = narrowed(array)
    assert (None if found is None else found.dtype) == dtype
