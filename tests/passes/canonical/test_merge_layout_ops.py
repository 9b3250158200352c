"""Chains of Transpose and Reshape."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from passes.canonical.merge_layout_ops import composed, without_copies
from tests.build import Builder
from tests.passes.canonical.exact import Ran, run


def _ints(*numbers: int) -> np.ndarray:
    return np.asarray(numbers, np.int64)


def _run(rank: int, *ops: tuple[Any, ...], shape: Any = (2, 3, 4)) -> Ran:
    b = Builder()
    h = b.op("Neg", b.input("x", list(shape)))
    for op, *constants, attrs in ops:
        h = b.op(op, h, *(b.const(c) for c in constants), **attrs)
    b.op("Abs", h, to="y")
    b.output("y", [None] * rank)
    return run("merge-layout-ops", b.model())


def _reads_neg(ran: Ran, op: str) -> bool:
    node = [n for n in ran.after.graph.nodes if n.op_type == op][-1]
    source = node.inputs[0]
    return source is not None and source.producer is not None and source.producer.op_type == "Neg"


@pytest.mark.parametrize(
    ("first", "second"), [({"perm": [1, 2, 0]}, {"perm": [2, 1, 0]}), ({}, {"perm": [1, 0, 2]})]
)
def test_transposes(first: dict[str, Any], second: dict[str, Any]) -> None:
    ran = _run(3, ("Transpose", first), ("Transpose", second))
    assert _reads_neg(ran, "Transpose")
    ran.same_bits()


@pytest.mark.parametrize(
    "first",
    [
        ("Reshape", _ints(6, 4), {}),
        ("Flatten", {"axis": 2}),
        ("Unsqueeze", _ints(0), {}),
    ],
)
def test_reshape_after_reordering(first: tuple[Any, ...]) -> None:
    ran = _run(2, first, ("Reshape", _ints(4, 6), {}))
    assert _reads_neg(ran, "Reshape")
    ran.same_bits()


def test_copied_extents_are_resolved() -> None:
    ran = _run(2, ("Reshape", _ints(4, 6), {}), ("Reshape", _ints(0, -1), {}))
    assert _reads_neg(ran, "Reshape")
    ran.same_bits()


def test_copied_unknown_extents_stay() -> None:
    chain: list[tuple[Any, ...]] = [("Reshape", _ints(-1, 4), {}), ("Reshape", _ints(0, 2, 2), {})]
    assert not _run(3, *chain, shape=("n", 3, 4)).outcome


def test_opposites() -> None:
    ran = _run(3, ("Unsqueeze", _ints(1), {}), ("Squeeze", _ints(1), {}))
    assert "Squeeze" not in ran.ops
    ran.same_bits()
    assert not _run(3, ("Unsqueeze", _ints(0), {}), ("Squeeze", _ints(1), {}), shape=(1, 3)).outcome


def test_composed() -> None:
    x = np.arange(24).reshape(2, 3, 4)
    first, second = [1, 2, 0], [2, 0, 1]
    np.testing.assert_array_equal(
        x.transpose(first).transpose(second), x.transpose(composed(first, second))
    )


def test_without_copies() -> None:
    resolved = without_copies(_ints(0, -1), (5, 6))
    assert resolved is not None
    assert resolved.tolist() == [5, -1]
    assert without_copies(_ints(0, -1), ("n", 6)) is None
    assert without_copies(_ints(0), (0,)) is None
    assert without_copies(_ints(3, 0), (3,)) is None
