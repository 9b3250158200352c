"""Linear layers on one input that are added up, against ONNX Runtime."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations
from typing import Any

import numpy as np
import pytest

from tests.build import Builder
from tests.passes.merging.merged import Net, merge, refused

SHAPE = ["n", 4, 9, 8]


def conv(b: Builder, x: str, *kernel: int, bias: bool = True, o: int = 4, **attrs: Any) -> str:
    weight = b.weight(o, 4 // attrs.get("group", 1), *kernel)
    return b.op("Conv", x, weight, *([b.weight(o)] if bias else []), **attrs)


def added(b: Builder, terms: Sequence[str]) -> str:
    total = terms[0]
    for term in terms[1:]:
        total = b.op("Add", total, term)
    return total


def three(b: Builder, x: str, **attrs: Any) -> str:
    return conv(b, x, 3, 3, **({"pads": [1] * 4} | attrs))


TERMS: dict[str, Net] = {
    "itself": lambda _, x: x,
    "normalized": lambda b, x: b.batch_norm(x, 4),
    "scaled": lambda b, x: b.op("Mul", b.weight(4, 1, 1), x),
    "halved": lambda b, x: b.op("Div", x, b.const(np.float32(2))),
    "negated": lambda b, x: b.op("Sub", b.weight(1, 4, 1, 1), x),
    "shifted": lambda b, x: b.op("Add", x, b.weight(4, 1, 1)),
    "pointwise": lambda b, x: conv(b, x, 1, 1),
    "same": three,
    "rows": lambda b, x: conv(b, x, 3, 1, pads=[1, 0, 1, 0]),
    "columns": lambda b, x: conv(b, x, 1, 3, pads=[0, 1, 0, 1], bias=False),
    "corners": lambda b, x: conv(b, x, 2, 2, pads=[1] * 4, dilations=[2, 2]),
    "off centre": lambda b, x: conv(b, x, 2, 1, pads=[1, 0, 0, 0]),
    "groups": lambda b, x: three(b, x, group=2),
    "depthwise": lambda b, x: three(b, x, group=4),
    "average": lambda b, x: b.op(
        "AveragePool", x, kernel_shape=[3, 3], pads=[1] * 4, count_include_pad=1
    ),
}


@pytest.mark.parametrize("flipped", [False, True])
@pytest.mark.parametrize("term", TERMS)
def test_beside_three_by_three(term: str, flipped: bool) -> None:
    def net(b: Builder, x: str) -> str:
        terms = [three(b, x), TERMS[term](b, x)]
        return b.op("Add", *(terms[::-1] if flipped else terms))

    done = merge("merge-sums", net, SHAPE).cheaper()
    assert done.ops["Conv"] == 1
    assert done.ops == {"Conv": 1}


@pytest.mark.parametrize("terms", list(permutations(["same", "rows", "pointwise", "normalized"])))
def test_any_order(terms: Sequence[str]) -> None:
    done = merge("merge-sums", lambda b, x: added(b, [TERMS[t](b, x) for t in terms]), SHAPE)
    assert done.cheaper().ops == {"Conv": 1}


@pytest.mark.parametrize("groups", [(1, 1), (2, 2), (4, 2), (4, 4)])
@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("strides", [1, 2])
def test_ranks_strides_and_groups(strides: int, rank: int, groups: tuple[int, int]) -> None:
    steps = [strides] * rank

    def net(b: Builder, x: str) -> str:
        large = conv(b, x, *[5] * rank, pads=[2] * 2 * rank, strides=steps, group=groups[1])
        small = conv(b, x, *[3] * rank, pads=[1] * 2 * rank, strides=steps, group=groups[0])
        return b.op("Add", small, large)

    done = merge("merge-sums", net, ["n", 4, *[9, 8, 7][:rank]]).cheaper()
    assert done.ops == {"Conv": 1}


def test_extents_that_happen_to_agree() -> None:
    """At a stride of two, what SAME pads of eight elements is one at the end only."""

    def net(b: Builder, x: str) -> str:
        large = conv(b, x, 3, 3, strides=[2, 2], auto_pad="SAME_UPPER")
        return b.op("Add", large, conv(b, x, 1, 1, strides=[2, 2]))

    assert merge("merge-sums", net, ["n", 4, 8, 8]).cheaper().ops == {"Conv": 1}
    assert merge("merge-sums", net, ["n", 4, 7, 8]).cheaper().ops == {"Conv": 1}


@pytest.mark.parametrize("extent", [8, "h"])
def test_extents_must_be_known_to_agree(extent: Any) -> None:
    def net(b: Builder, x: str) -> str:
        large = conv(b, x, 3, 3, strides=[2, 2], pads=[0, 0, 1, 1])
        return b.op("Add", large, conv(b, x, 1, 1, strides=[2, 2]))

    if extent == "h":
        refused("merge-sums", net, ["n", 4, "h", 8], "other-extents")
    else:
        assert merge("merge-sums", net, ["n", 4, 8, 8]).cheaper().ops == {"Conv": 1}


def test_unknown_extents() -> None:
    net: Net = lambda b, x: added(b, [three(b, x), conv(b, x, 1, 1), x])  # noqa: E731
    done = merge("merge-sums", net, ["n", 4, "h", "w"])
    done.result.same()
    assert done.ops == {"Conv": 1}


def test_what_pays_only_beside_the_third() -> None:
    net: Net = lambda b, x: added(b, [TERMS[t](b, x) for t in ("rows", "columns")])  # noqa: E731
    refused("merge-sums", net, SHAPE, "not-cheaper")


def test_terms_on_other_inputs_stay() -> None:
    def net(b: Builder, x: str) -> str:
        other = b.op("Relu", x)
        inner = b.op("Add", conv(b, x, 1, 1), b.op("Exp", x))
        return added(b, [other, inner, three(b, x), conv(b, other, 1, 1), b.weight(4, 1, 1), x])

    done = merge("merge-sums", net, SHAPE).cheaper()
    assert done.ops == {"Relu": 1, "Exp": 1, "Conv": 2, "Add": 2}


def test_what_is_left_of_a_sum_may_be_smaller() -> None:
    """What is added beside the kernel broadcasts, and its sum with a term was recorded larger."""

    def net(b: Builder, x: str) -> str:
        small = b.op("ReduceMax", b.op("Relu", x))
        inner = b.op("Add", b.op("Add", conv(b, x, 1, 1), small), b.op("Exp", small))
        return b.op("Add", inner, three(b, x))

    done = merge("merge-sums", net, SHAPE).cheaper()
    assert done.ops["Conv"] == 1
    sums = [n.output.shape for _, n in done.result.after.nodes() if n.is_op("Add")]
    assert None in sums


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(
    "terms",
    [
        ("MatMul", "MatMul"),
        ("MatMul", "itself"),
        ("MatMul", "scaled"),
        ("MatMul", "itself", "MatMul"),
    ],
)
@pytest.mark.parametrize("shape", [["n", 6], ["n", 5, 6]])
def test_products(shape: list[Any], terms: Sequence[str], bias: bool) -> None:
    def one(b: Builder, x: str, term: str) -> str:
        if term == "itself":
            return x
        if term == "scaled":
            return b.op("Mul", x, b.weight(6))
        h = b.op("MatMul", x, b.weight(6, 6))
        return b.op("Add", h, b.weight(6)) if bias else h

    done = merge("merge-sums", lambda b, x: added(b, [one(b, x, t) for t in terms]), shape)
    assert done.cheaper().ops == {"MatMul": 1} | ({"Add": 1} if bias else {})


def test_constants_that_a_product_has_no_place_for_stay() -> None:
    def net(b: Builder, x: str) -> str:
        return added(b, [b.op("MatMul", x, b.weight(6, 5)), b.op("ReduceMax", x), b.weight(5)])

    assert not merge("merge-sums", net, ["n", 6]).result.outcome


@pytest.mark.parametrize("first", [0, 1])
def test_gemm_and_matmul(first: int) -> None:
    def net(b: Builder, x: str) -> str:
        one = b.op("Gemm", x, b.weight(5, 6), b.weight(5), transB=1, alpha=0.5, beta=2.0)
        other = b.op("MatMul", x, b.weight(6, 5))
        return b.op("Add", *[one, other][:: 1 - 2 * first])

    done = merge("merge-sums", net, ["n", 6]).cheaper()
    assert sum(done.ops.values()) <= 2
    assert done.ops["MatMul"] + done.ops["Gemm"] == 1


def test_transposed_convolutions_of_one_window() -> None:
    def net(b: Builder, x: str) -> str:
        attrs: dict[str, Any] = {"strides": [2, 2], "output_padding": [1, 0], "group": 2}
        one, other = (
            b.op("ConvTranspose", x, b.weight(4, 3, 3, 3), b.weight(6), **attrs) for _ in range(2)
        )
        return b.op("Add", one, other)

    done = merge("merge-sums", net, SHAPE).cheaper()
    assert done.ops == {"ConvTranspose": 1}
    assert done.ratio == 0.5


def _far(b: Builder, x: str) -> str:
    """Two kernels that meet nowhere fill the space between them with zeros."""
    far = conv(b, x, 1, 1, pads=[3, 3, 0, 0])
    return b.op("Add", conv(b, x, 1, 1, pads=[0, 0, 3, 3]), far)


def _stepping(b: Builder, x: str) -> str:
    return conv(b, x, 1, 1, strides=[1, 3])


def _read_elsewhere(b: Builder, x: str) -> str:
    h = conv(b, x, 1, 1)
    return b.op("Add", b.op("Add", h, three(b, x)), b.op("ReduceMax", b.op("Exp", h)))


def _shared(b: Builder, x: str) -> str:
    weight = b.weight(4, 4, 3, 3)
    other = b.op("ReduceMax", b.op("Conv", b.op("Exp", x), weight))
    return b.op("Add", b.op("Add", b.op("Conv", x, weight, pads=[1] * 4), x), other)


@pytest.mark.parametrize(
    ("net", "code"),
    [
        (lambda b, x: added(b, [three(b, x, group=4), conv(b, x, 1, 1)]), "not-cheaper"),
        (_far, "not-cheaper"),
        (
            lambda b, x: added(b, [three(b, x, strides=[2, 2]), _stepping(b, x)]),
            "other-stride",
        ),
        (_read_elsewhere, "several-readers"),
        (_shared, "larger"),
        (
            lambda b, x: added(
                b, [three(b, x), b.op("AveragePool", x, kernel_shape=[3, 3], pads=[1] * 4)]
            ),
            "uncounted-pads",
        ),
    ],
)
def test_left_alone(net: Net, code: str) -> None:
    shape = ["n", 4, 1, 1] if code == "other-stride" else SHAPE
    refused("merge-sums", net, shape, code)


def test_residual_branches_are_not_looked_at() -> None:
    def net(b: Builder, x: str) -> str:
        return b.op("Add", three(b, b.op("Relu", three(b, x))), x)

    done = merge("merge-sums", net, SHAPE)
    assert not done.result.outcome
    assert not done.codes


def test_the_sum_is_an_output() -> None:
    def net(b: Builder, x: str) -> str:
        b.op("Add", three(b, x), x, to="z")
        b.output("z")
        return "z"

    done = merge("merge-sums", net, SHAPE).cheaper()
    assert [v.name for v in done.result.after.graph.outputs] == ["z", "y"]
    assert done.ops == {"Conv": 1}


def test_a_layer_that_another_one_reads_is_its_input() -> None:
    """The first layer is read twice; the second one takes over what it adds to."""

    def net(b: Builder, x: str) -> str:
        h = three(b, x)
        return b.op("Add", h, three(b, h))

    done = merge("merge-sums", net, SHAPE).cheaper()
    assert done.ops == {"Conv": 2}
