"""Hard swishes as exporters spell them become one operator, and nothing else does."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from onnx import TensorProto as T

from tests.build import Builder
from tests.passes.canonical.folding import run

SHAPE = [2, 8, 5, 5]


def c(b: Builder, number: float, shape: tuple[int, ...] = ()) -> str:
    return b.const(np.full(shape, number, np.float32))


def gate(b: Builder, x: str, high: float = 6.0, shift: float = 3.0) -> str:
    return b.op("Clip", b.op("Add", x, c(b, shift)), c(b, 0.0), c(b, high))


def sixth_last(b: Builder, x: str) -> str:
    return b.op("Div", b.op("Mul", x, gate(b, x)), c(b, 6.0))


def sixth_of_the_gate(b: Builder, x: str) -> str:
    return b.op("Mul", b.op("Mul", gate(b, x), c(b, 1 / 6, (1, 1, 1, 1))), x)


def sixth_of_the_other(b: Builder, x: str) -> str:
    return b.op("Mul", gate(b, x), b.op("Div", x, c(b, 6.0, (1,))))


def subtracted(b: Builder, x: str) -> str:
    shifted = b.op("Sub", x, c(b, -3.0))
    clipped = b.op("Clip", shifted, c(b, 0.0), c(b, 6.0))
    return b.op("Mul", x, b.op("Div", clipped, c(b, 6.0)))


def scaled_before(b: Builder, x: str) -> str:
    inner = b.op("Add", c(b, 0.5), b.op("Mul", x, c(b, 1 / 6)))
    return b.op("Mul", x, b.op("Clip", inner, c(b, 0.0), c(b, 1.0)))


def relu_and_min(b: Builder, x: str) -> str:
    high = b.op("Min", b.op("Relu", b.op("Add", x, c(b, 3.0))), c(b, 6.0))
    return b.op("Mul", x, b.op("Mul", high, c(b, 1 / 6)))


def hard_sigmoid(b: Builder, x: str) -> str:
    return b.op("Mul", b.op("HardSigmoid", x, alpha=1 / 6, beta=0.5), x)


def built(spell: Callable[[Builder, str], str], dtype: int = T.FLOAT) -> Builder:
    b = Builder()
    x = b.op("Neg", b.input("x", SHAPE, dtype))
    b.op("Identity", spell(b, x), to="y")
    b.output("y", SHAPE, dtype)
    return b


SPELLINGS = [
    sixth_last, sixth_of_the_gate, sixth_of_the_other, subtracted, scaled_before, relu_and_min,
    hard_sigmoid,
]  # fmt: skip


@pytest.mark.parametrize("spell", SPELLINGS)
def test_all_spellings_become_one_operator(spell: Callable[[Builder, str], str]) -> None:
    result = run("merge-hard-swish", built(spell).model())
    result.same()
    left = {op: n for op, n in result.ops.items() if op != "Identity"}
    assert left == {"Neg": 1, "HardSwish": 1}
    assert dict(result.outcome.counts) == {"hard swishes merged": 1}


def test_a_sixth_that_is_missing_stays_as_a_factor() -> None:
    result = run("merge-hard-swish", built(lambda b, x: b.op("Mul", gate(b, x), x)).model())
    result.same()
    assert result.ops == {"Neg": 1, "HardSwish": 1, "Mul": 1, "Identity": 1}


def test_any_factor_behind_it_is_taken_in() -> None:
    def spell(b: Builder, x: str) -> str:
        return b.op("Mul", c(b, -0.7), b.op("Mul", gate(b, x), x))

    result = run("merge-hard-swish", built(spell).model())
    result.same()
    assert result.ops == {"Neg": 1, "HardSwish": 1, "Mul": 1, "Identity": 1}


@pytest.mark.parametrize(
    "spell",
    [
        lambda b, x: b.op("Div", b.op("Mul", x, gate(b, x, shift=2.9)), c(b, 6.0)),
        lambda b, x: b.op("Div", b.op("Mul", x, gate(b, x, high=5.9)), c(b, 6.0)),
        lambda b, x: b.op("Mul", b.op("Neg", x), gate(b, x)),
        lambda b, x: b.op("Mul", x, b.op("HardSigmoid", x)),
        lambda b, x: b.op("Mul", x, b.op("Clip", b.op("Sub", c(b, 3.0), x), c(b, 0.0), c(b, 6.0))),
        lambda b, x: b.op("Mul", x, b.op("Clip", b.op("Add", x, c(b, 3.0)), c(b, 0.1), c(b, 6.0))),
        lambda b, x: b.op("Mul", gate(b, x), c(b, 0.0)),
    ],
)
def test_what_only_looks_like_one_stays(spell: Callable[[Builder, str], str]) -> None:
    result = run("merge-hard-swish", built(spell).model())
    assert not result.outcome
    assert not result.ops["HardSwish"]


@pytest.mark.parametrize("shape", [(1, 1, 1, 1, 1), (1, 1, 1, 1, 1, 1)])
def test_numbers_that_add_axes_stay(shape: tuple[int, ...]) -> None:
    def spell(b: Builder, x: str) -> str:
        return b.op("Div", b.op("Mul", x, gate(b, x)), c(b, 6.0, shape))

    b = built(spell)
    b.outputs.clear()
    b.output("y", [1] * (len(shape) - 4) + SHAPE)
    run("merge-hard-swish", b.model()).same()


@pytest.mark.parametrize("which", ["Add", "Clip", "Mul"])
def test_what_others_read_stays(which: str) -> None:
    b = built(sixth_last)
    name = next(n.output[0] for n in b.nodes if n.op_type == which)
    b.output(name, SHAPE)
    result = run("merge-hard-swish", b.model())
    result.same()
    assert result.ops[which] == 1
    assert result.ops["HardSwish"] == (which == "Mul")  # the product itself may be read


def test_only_where_there_is_a_kernel_and_an_operator() -> None:
    assert not run("merge-hard-swish", built(sixth_last).model(13)).outcome

    def half(b: Builder, x: str) -> str:
        three, zero, six = (b.const(np.float16(n)) for n in (3, 0, 6))
        return b.op("Div", b.op("Mul", x, b.op("Clip", b.op("Add", x, three), zero, six)), six)

    assert not run("merge-hard-swish", built(half, dtype=T.FLOAT16).model()).outcome


def test_a_convolution_and_its_hard_swish_are_one_in_what_comes_out() -> None:
    b = Builder()
    x = b.op("Conv", b.input("x", [2, 4, 5, 5]), b.weight(8, 4, 1, 1), b.weight(8))
    b.op("Conv", sixth_last(b, x), b.weight(3, 8, 1, 1), to="y")
    b.output("y", [2, 3, 5, 5])
    result = run("canonicalize", b.model())
    result.same()
    assert result.ops == {"Conv": 2, "HardSwish": 1}
