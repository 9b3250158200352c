"""When one layer pays for two."""

from __future__ import annotations

from fractions import Fraction

import pytest

from passes.merging import forms, worth
from passes.merging.forms import Axis, LinearForm
from passes.merging.worth import LayerWork
from tests.build import Builder
from tests.passes.merging.merged import refused


def square(outputs: int, inputs: int, kernel: int, groups: int = 1) -> LinearForm:
    return forms.form_of(outputs, inputs, [Axis(kernel, 1, 1, 0, 0)] * 2, groups)


@pytest.mark.parametrize(
    ("form", "effort"),
    [
        (square(16, 10, 3), 16 * 10 * 9),
        (square(1, 10, 3), 8 * 10 * 9),
        (square(17, 10, 1), 24 * 10),
        (square(16, 16, 3, 16), 2 * 16 * 9),
        (square(4, 4, 3, 4), 2 * 8 * 9),
        (square(16, 16, 1, 2), 16 * 8),
        (square(8, 8, 1, 2), Fraction(3, 2) * 16 * 4),
        (square(1, 1, 3), 8 * 9),
    ],
)
def test_kernels_fill_blocks_of_outputs(form: LinearForm, effort: int) -> None:
    assert LayerWork(form).effort(8) == effort
    assert LayerWork(form, Fraction(3)).effort(8) == 3 * effort
    assert LayerWork(form, transposed=True).effort(8) == form.weights


def _code(before: list[LayerWork], after: LayerWork, *, equal: bool = False) -> str:
    found = worth.refusal(before, after, 8, equal=equal)
    return found.code if found is not None else ""


def test_multiplications_must_fall() -> None:
    small, large = LayerWork(square(8, 8, 1)), LayerWork(square(8, 8, 3))
    assert _code([large], small) == ""
    assert _code([small], large) == "not-cheaper"
    assert _code([small], small) == "not-cheaper"
    assert _code([small], small, equal=True) == ""
    assert _code([small], LayerWork(small.form, Fraction(2)), equal=True) == "not-cheaper"


def test_so_must_what_kernels_make_of_them() -> None:
    pair = [LayerWork(square(64, 64, 3, 64)), LayerWork(square(1, 64, 1))]
    one = LayerWork(square(1, 64, 3))
    assert one.macs < pair[0].macs + pair[1].macs
    assert _code(pair, one) == "slower"


def test_a_pair_that_ends_in_one_output_stays() -> None:
    def net(b: Builder, x: str) -> str:
        h = b.op("Conv", x, b.weight(64, 1, 3, 3), b.weight(64), group=64)
        return b.op("Conv", h, b.weight(1, 64, 1, 1), b.weight(1))

    refused("merge-chains", net, ["n", 64, 9, 8], "slower")


@pytest.mark.parametrize(("added", "code"), [(164, ""), (165, "larger")])
def test_bytes_of_a_node_that_goes_count(added: int, code: str) -> None:
    found = worth.growth(100, added, 1)
    assert (found.code if found is not None else "") == code
