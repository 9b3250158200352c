"""`validate` without a gate allows what `optimize` allows where nobody sets a limit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import TensorProto as T

import ocompress
from ocompress.errors import OptionError
from ocompress.ir import Model
from ocompress.validation import Gate, ValidationResult
from tests.build import Builder

ROWS = np.random.default_rng(0).standard_normal((256, 24)).astype(np.float32)


def net(noise: float, *, classes: bool = True) -> Model:
    """Ten scores of a linear model; noise makes another model of the same task of it."""
    b = Builder(1)
    weight = b.rng.standard_normal((24, 10)) * 2
    weight = (weight + noise * np.random.default_rng(7).standard_normal(weight.shape)).astype("f4")
    h = b.op("MatMul", b.input("x", ["n", 24]), b.const(weight))
    if classes:
        b.output(b.op("Softmax", h, axis=-1), ["n", 10])
    else:
        b.output(b.op("ArgMax", h, axis=-1, keepdims=0), ["n"], T.INT64)
    return b.model()


def checked(noise: float, *, classes: bool = True, **how: Any) -> ValidationResult:
    pair = net(0, classes=classes), net(noise, classes=classes)
    return ocompress.validate(*pair, {"x": ROWS}, **how)


def test_a_good_model_that_is_another_one_does_not_pass() -> None:
    """It decides alike nine times of ten, far from collapse, and loses more than a point."""
    found = checked(0.3)
    assert found.levels[0].agreement is not None
    assert found.levels[0].agreement.value > 0.85
    (failure,) = found.failures
    assert failure.name == "max_drop"
    assert "the default; set another with --max-drop" in failure.message


def test_a_compressed_model_passes() -> None:
    assert checked(0.02).passed


@pytest.mark.parametrize(
    ("how", "passed"),
    [
        ({"max_drop": "50%"}, True),
        ({"max_drop": 0.001}, False),
        ({"gate": Gate(max_opset=99)}, True),
    ],
)
def test_users_may_say_otherwise(how: dict[str, Any], passed: bool) -> None:
    assert checked(0.3, **how).passed is passed


@pytest.mark.parametrize(("noise", "passed"), [(0.1, True), (0.6, False)])
def test_differences_that_count_in_full_may_be_five_points(noise: float, passed: bool) -> None:
    found = checked(noise, classes=False)
    assert found.passed is passed
    assert found.levels[0].loss is not None
    assert found.levels[0].loss.drop.value > 0.01


def test_a_limit_needs_data() -> None:
    with pytest.raises(OptionError, match="need data"):
        ocompress.validate(net(0), net(0), max_drop=0.1)
