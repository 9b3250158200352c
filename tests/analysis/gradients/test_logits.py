"""Telling logits from a few numbers."""

from __future__ import annotations

import numpy as np
import pytest

from ocompress.analysis.gradients.logits import may_be_logits, shaped_as_input
from tests.build import Builder

RNG = np.random.default_rng(0)


def centred(rows: np.ndarray) -> np.ndarray:
    """Return rows as cross entropy makes them: what classes have in common hardly varies."""
    return np.asarray(rows - 0.9 * rows.mean(axis=1, keepdims=True))


INDEPENDENT = RNG.standard_normal((64, 3))
IN_STEP = RNG.standard_normal((64, 1)) + 0.5 * RNG.standard_normal((64, 8))


@pytest.mark.parametrize(
    ("output", "alone", "expected"),
    [
        (INDEPENDENT, False, False),
        (INDEPENDENT, True, True),  # nothing speaks against a net that nobody trained
        (centred(INDEPENDENT) + 7, False, True),
        (INDEPENDENT[:7], False, True),  # too few rows to tell
        (RNG.standard_normal((64, 10)), False, True),
        (IN_STEP, True, True),  # nor against one that is given little to tell apart
        (IN_STEP, False, True),
        (IN_STEP[:, :3], True, True),
        (IN_STEP[:, :3], False, False),
        (60 * np.eye(8)[:1], True, False),
        (40 * np.eye(8)[:1], True, True),
        (np.full((64, 3), np.nan), False, True),
        (np.zeros((64, 3)), False, True),
    ],
)
def test_what_can_be_logits(output: np.ndarray, alone: bool, expected: bool) -> None:
    assert may_be_logits(output, -1, alone=alone) is expected
    maps = np.moveaxis(np.repeat(output[:, None, None], 2, axis=1), -1, 1)
    assert may_be_logits(maps, 1, alone=alone) is expected


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        (INDEPENDENT, False),
        (IN_STEP, False),
        (centred(RNG.standard_normal((64, 8))), True),
        (centred(RNG.standard_normal((7, 8))), False),  # too few rows to tell
    ],
)
def test_what_has_the_extents_of_an_input_needs_evidence(
    output: np.ndarray, expected: bool
) -> None:
    assert may_be_logits(output, -1, alone=True, like=True) is expected


@pytest.mark.parametrize(
    ("shape", "made", "expected"),
    [
        (["n", 32], (5, 32), True),
        (["n", 10], (5, 10), False),
        (["n", 32], (5, 33), False),
        (["n", 32], (5, 1, 32), False),
        (["n", "features"], (5, 32), False),
        ([1, 4, "h", "w"], (3, 4, 9, 9), True),
        ([1, 4, 8, "w"], (3, 4, 9, 9), False),
        (["n", "t", 8], (5, 3, 8), True),
        ([8], (8,), False),
    ],
)
def test_extents_of_an_input(shape: list[int | str], made: tuple[int, ...], expected: bool) -> None:
    b = Builder()
    b.op("Relu", b.input("x", shape), to="y")
    b.output("y", None)
    assert shaped_as_input(np.zeros(made, np.float32), b.model()) is expected


@pytest.mark.parametrize(("offset", "are"), [(0, True), (-20, True), (101_300, False)])
def test_logits_have_no_large_offset_in_common(offset: float, *, are: bool) -> None:
    values = np.random.default_rng(8).standard_normal((40, 5)) * 3 + offset
    assert may_be_logits(values, 1, alone=True) is are
