"""Predicted times: what integer convolutions copy, however few channels they read."""

from __future__ import annotations

import numpy as np
import pytest

from ocompress.ir import Value
from ocompress.planning import Cell
from ocompress.targets import find
from passes.quantization.costing import cell
from passes.quantization.matching import find_units
from tests.build import Builder

Shape = tuple[int, int, tuple[int, ...], tuple[int, ...]]

MEASURED: dict[Shape, tuple[float, float]] = {
    # inputs, outputs, kernel, places: int8 over float time, with VNNI and with AVX2 alone
    (1, 12, (5, 5), (80, 80)): (6.08, 4.25),
    (1, 64, (3, 3), (80, 160)): (3.70, 3.01),
    (1, 32, (1, 7), (112, 28)): (2.30, 3.53),
    (2, 4, (7, 7), (112, 56)): (2.29, 2.01),
    (3, 24, (3, 3), (80, 40)): (2.27, 2.30),
    (3, 128, (1, 7), (80, 80)): (0.94, 1.08),
    (16, 32, (1, 7), (200, 50)): (0.47, 0.83),
    (16, 12, (5, 5), (28, 28)): (0.57, 0.86),
    (64, 8, (3, 3), (56, 28)): (0.49, 0.47),
    (64, 16, (5, 5), (28, 14)): (0.20, 0.38),
}
"""Of a processor with both, one thread."""


def times(
    inputs: int, outputs: int, kernel: tuple[int, ...], places: tuple[int, ...], target: str
) -> Cell:
    b = Builder()
    x = b.input("x", [1, inputs, *places])
    b.output(b.op("Conv", x, b.weight(outputs, inputs, *kernel), pads=[k // 2 for k in kernel] * 2))
    (unit,) = find_units(b.model(), lambda *_: None)
    count = int(np.prod(places))

    def elements(value: Value) -> float:
        return float(count * (inputs if value.name == "x" else outputs))

    found = cell(unit, elements, find(target))
    assert found is not None
    return found


@pytest.mark.parametrize(("target", "column"), [("x86-vnni", 0), ("x86-avx2", 1)])
@pytest.mark.parametrize("shape", MEASURED)
def test_what_convolutions_gain_is_as_measured(shape: Shape, target: str, column: int) -> None:
    found = times(*shape, target)
    seen = MEASURED[shape][column]
    assert seen / 2 < found.int8_ns / found.float_ns < seen * 2
    if not 0.7 < seen < 1.4:
        assert (found.int8_ns < found.float_ns) == (seen < 1)


@pytest.mark.parametrize("target", ["x86-vnni", "x86-avx2", "portable"])
def test_thin_convolutions_cost_by_what_they_make(target: str) -> None:
    one = times(1, 32, (3, 3), (64, 64), target)
    assert times(1, 64, (3, 3), (64, 64), target).int8_ns > 1.2 * one.int8_ns
    assert times(1, 32, (3, 3), (128, 64), target).int8_ns > 1.8 * one.int8_ns
    assert times(1, 32, (9, 3), (64, 64), target).int8_ns > 1.4 * one.int8_ns


@pytest.mark.parametrize("target", ["x86-vnni", "x86-avx2"])
def test_a_row_of_the_kernel_is_copied_at_once_over_up_to_two_axes(target: str) -> None:
    along = times(8, 16, (1, 9), (1, 4000), target).int8_ns
    assert times(8, 16, (9,), (4000,), target).int8_ns == pytest.approx(along)
    assert times(8, 16, (9, 1), (4000, 1), target).int8_ns > 1.5 * along
    deep, flat = (times(8, 16, k, p, target) for k, p in (((3, 3, 3), (8, 8, 8)), ((27,), (512,))))
    assert deep.int8_ns > 3 * flat.int8_ns
    assert deep.float_ns == pytest.approx(flat.float_ns)


def test_outputs_are_computed_in_whole_blocks() -> None:
    twelve, sixteen = (times(32, n, (3, 3), (32, 32), "x86-vnni") for n in (12, 16))
    assert twelve.float_ns > 0.9 * sixteen.float_ns
    assert twelve.int8_ns > 0.9 * sixteen.int8_ns


@pytest.mark.parametrize(("target", "whole"), [("x86-vnni", 32), ("x86-avx2", 24)])
def test_blocks_are_as_wide_as_the_target_s_registers(target: str, whole: int) -> None:
    work = [times(32, n, (3, 3), (64, 64), target).float_ns for n in (24, 32)]
    assert work[0] / work[1] == pytest.approx(whole / 32, rel=0.05)
