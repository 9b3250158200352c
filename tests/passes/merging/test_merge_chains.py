"""Linear layers in a row, against ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from ocompress.pipeline import PassManager, Pipeline
from ocompress.targets import find
from passes.merging import arithmetic
from passes.merging.merge_chains import MergeChains
from tests.build import Builder
from tests.passes.merging.merged import Net, merge, refused

SHAPE = ["n", 4, 9, 8]
MIDDLE = 48


def conv(b: Builder, x: str, i: int, o: int, *kernel: int, bias: bool = True, **attrs: Any) -> str:
    weight = b.weight(o, i // attrs.get("group", 1), *kernel)
    return b.op("Conv", x, weight, *([b.weight(o)] if bias else []), **attrs)


def drawn(rng: np.random.Generator, rank: int, *, pads: bool) -> tuple[list[int], dict[str, Any]]:
    """Draw a kernel and attributes."""
    attrs: dict[str, Any] = {
        "strides": rng.integers(1, 4, rank).tolist(),
        "dilations": rng.integers(1, 3, rank).tolist(),
    }
    if pads:
        attrs["pads"] = rng.integers(0, 3, 2 * rank).tolist()
    return rng.integers(1, 4, rank).tolist(), attrs


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("seed", range(12))
def test_two_convolutions(seed: int, rank: int) -> None:
    """Wide in the middle, so that one takes less whatever the kernels."""
    rng = np.random.default_rng(seed)
    groups = [1, 1, 2][seed % 3], [1, 2, 4][seed // 3 % 3]

    def net(b: Builder, x: str) -> str:
        kernel, attrs = drawn(rng, rank, pads=True)
        h = conv(b, x, 4, 400, *kernel, group=groups[0], bias=bool(seed % 2), **attrs)
        kernel, attrs = drawn(rng, rank, pads=False)
        return conv(b, h, 400, 4, *kernel, group=groups[1], **attrs)

    done = merge("merge-chains", net, ["n", 4, *[15, 16, 17][:rank]]).cheaper()
    assert done.ops == {"Conv": 1}


def _pointwise(b: Builder, x: str, **attrs: Any) -> str:
    return conv(b, x, 4, MIDDLE, 1, 1, bias=False, **attrs)


def _patches(b: Builder, x: str) -> str:
    """Windows that meet nowhere and fill the input see nothing of the padding behind them."""
    return conv(b, x, 4, 150, 3, 2, bias=False, strides=[3, 2])


@pytest.mark.parametrize("extent", [9, "h"])
@pytest.mark.parametrize(
    ("first", "end"),
    [
        (_pointwise, 1),
        (lambda b, x: _pointwise(b, x, strides=[2, 3]), 1),
        (lambda b, x: _pointwise(b, x, pads=[1, 0, 2, 0]), 2),
        (_patches, 0),
        (_patches, 1),
    ],
)
def test_second_pads_where_the_first_makes_zeros(first: Net, end: int, extent: Any) -> None:
    def net(b: Builder, x: str) -> str:
        h = first(b, x)
        return conv(b, h, MIDDLE if first is not _patches else 150, 4, 2, 2, pads=[1, 1, end, end])

    shape = ["n", 4, extent, 8]
    if first is _patches and end and extent == "h":  # how many rows are left over is not known
        refused("merge-chains", net, shape, "padding")
        return
    done = merge("merge-chains", net, shape)
    assert done.ops == {"Conv": 1}
    done.result.same()


def _chain(*layers: Callable[[Builder, str], str]) -> Net:
    def net(b: Builder, x: str) -> str:
        for layer in layers:
            x = layer(b, x)
        return x

    return net


TRANSPOSED: dict[str, dict[str, Any]] = {
    "plain": {},
    "strides": {"strides": [2, 3], "output_padding": [1, 0], "pads": [1, 0, 0, 1]},
    "groups": {"group": 2, "strides": [2, 1]},
    "dilations": {"dilations": [2, 1], "group": 4},
}


def transposed(b: Builder, x: str, i: int, o: int, **attrs: Any) -> str:
    weight = b.weight(i, o // attrs.get("group", 1), 3, 2)
    return b.op("ConvTranspose", x, weight, b.weight(o), **attrs)


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("attrs", TRANSPOSED.values(), ids=TRANSPOSED)
def test_transposed_then_pointwise(attrs: dict[str, Any], groups: int) -> None:
    def net(b: Builder, x: str) -> str:
        h = transposed(b, x, 4, MIDDLE, **attrs)
        return conv(b, h, MIDDLE, 4, 1, 1, group=groups)

    done = merge("merge-chains", net, SHAPE).cheaper()
    assert done.ops == {"ConvTranspose": 1}


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("attrs", TRANSPOSED.values(), ids=TRANSPOSED)
def test_pointwise_then_transposed(attrs: dict[str, Any], groups: int) -> None:
    def net(b: Builder, x: str) -> str:
        h = conv(b, x, 4, MIDDLE, 1, 1, group=groups, bias=False)
        return transposed(b, h, MIDDLE, 4, **attrs)

    done = merge("merge-chains", net, SHAPE).cheaper()
    assert done.ops == {"ConvTranspose": 1}


def test_bias_in_front_of_taps_that_overlap() -> None:
    def net(b: Builder, x: str) -> str:
        return transposed(b, conv(b, x, 4, MIDDLE, 1, 1), MIDDLE, 4)

    refused("merge-chains", net, SHAPE, "overlap")


# -- products of matrices ----------------------------------------------------------------------


def gemm(b: Builder, x: str, i: int, o: int, **attrs: Any) -> str:
    weight = b.weight(*((o, i) if attrs.get("transB") else (i, o)), scale=0.3)
    return b.op("Gemm", x, weight, b.weight(o), **attrs)


def left_gemm(b: Builder, x: str, i: int, o: int, **attrs: Any) -> str:
    weight = b.weight(*((i, o) if attrs.get("transA") else (o, i)), scale=0.3)
    return b.op("Gemm", weight, x, b.weight(o, 1), **attrs)


def matmul(b: Builder, x: str, i: int, o: int, *, bias: bool = False) -> str:
    h = b.op("MatMul", x, b.weight(i, o, scale=0.3))
    return b.op("Add", h, b.weight(o)) if bias else h


def left_matmul(b: Builder, x: str, i: int, o: int, *, bias: bool = False) -> str:
    h = b.op("MatMul", b.weight(o, i, scale=0.3), x)
    return b.op("Add", h, b.weight(o, 1)) if bias else h


RIGHT: dict[str, Net] = {
    "Gemm": lambda b, x: gemm(b, x, 6, 20),
    "Gemm:tb,alpha,beta": lambda b, x: gemm(b, x, 6, 20, transB=1, alpha=0.5, beta=2.0),
    "MatMul": lambda b, x: matmul(b, x, 6, 20),
    "MatMul,Add": lambda b, x: matmul(b, x, 6, 20, bias=True),
}
RIGHT_AFTER: dict[str, Net] = {
    "Gemm": lambda b, x: gemm(b, x, 20, 5, alpha=-1.5),
    "Gemm:tb,beta": lambda b, x: gemm(b, x, 20, 5, transB=1, beta=0.5),
    "MatMul": lambda b, x: matmul(b, x, 20, 5),
    "MatMul,Add": lambda b, x: matmul(b, x, 20, 5, bias=True),
}


@pytest.mark.parametrize("second", RIGHT_AFTER)
@pytest.mark.parametrize("first", RIGHT)
def test_products(first: str, second: str) -> None:
    net = _chain(RIGHT[first], RIGHT_AFTER[second])
    done = merge("merge-chains", net, ["n", 6]).cheaper()
    expected = {"Gemm", "MatMul"} if "Gemm" in first + second else {"MatMul"}
    assert sum(done.ops[op] for op in expected) == 1
    assert done.ops["Add"] <= 1


@pytest.mark.parametrize("rank", [3, 4])
@pytest.mark.parametrize("biases", [(False, False), (True, False), (False, True), (True, True)])
@pytest.mark.parametrize("product", [matmul, left_matmul])
def test_products_of_higher_rank(
    product: Callable[..., str], biases: tuple[bool, bool], rank: int
) -> None:
    def net(b: Builder, x: str) -> str:
        return product(b, product(b, x, 6, 20, bias=biases[0]), 20, 5, bias=biases[1])

    tail = [7, 6] if product is matmul else [6, 7]
    done = merge("merge-chains", net, ["n", 2, *tail][-rank:]).cheaper()
    assert done.ops == {"MatMul": 1} | ({"Add": 1} if any(biases) else {})


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (lambda b, x: gemm(b, x, 6, 20, transA=1), lambda b, x: gemm(b, x, 20, 5)),
        (lambda b, x: gemm(b, x, 6, 20, transA=1), lambda b, x: matmul(b, x, 20, 5)),
        (lambda b, x: left_gemm(b, x, 6, 20), lambda b, x: left_gemm(b, x, 20, 5, transA=1)),
        (lambda b, x: left_gemm(b, x, 6, 20), lambda b, x: gemm(b, x, 20, 5, transA=1)),
        (lambda b, x: left_matmul(b, x, 6, 20), lambda b, x: gemm(b, x, 20, 5, transA=1)),
        (lambda b, x: left_gemm(b, x, 6, 20), lambda b, x: left_matmul(b, x, 20, 5)),
        (lambda b, x: gemm(b, x, 6, 20, transA=1), lambda b, x: left_gemm(b, x, 20, 5, transB=1)),
    ],
)
def test_products_from_the_other_side(first: Net, second: Net) -> None:
    done = merge("merge-chains", _chain(first, second), [6, 7]).cheaper()
    assert done.ops["Gemm"] == 1
    assert sum(done.ops.values()) == 1


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_element_types(dtype: Any) -> None:
    def net(b: Builder, x: str) -> str:
        weights = (b.weight(6, 20, dtype=dtype), b.weight(20, 5, dtype=dtype))
        return b.op("MatMul", b.op("MatMul", x, weights[0]), weights[1])

    done = merge("merge-chains", net, ["n", 6], dtype=dtype)
    done.cheaper(5e-3 if dtype is np.float16 else 1e-12)
    assert done.ops == {"MatMul": 1}


# -- whole chains, and what is left alone --------------------------------------------------------


def test_chain_of_four_ends_as_one() -> None:
    layers = [(6, 40), (40, 30), (30, 20), (20, 5)]
    net = _chain(*(lambda b, x, io=io: gemm(b, x, *io) for io in layers))
    done = merge("merge-chains", net, ["n", 6]).cheaper()
    assert done.ops == {"Gemm": 1}
    assert done.ratio == 6 * 5 / sum(i * o for i, o in layers)


def test_nothing_is_merged_over_an_activation() -> None:
    done = merge(
        "merge-chains", lambda b, x: gemm(b, b.op("Relu", gemm(b, x, 6, 20)), 20, 5), [3, 6]
    )
    assert not done.result.outcome
    assert not done.codes


PAIRS: dict[str, Net] = {
    "low rank": lambda b, x: matmul(b, matmul(b, x, 4, 2), 2, 4),
    "low-rank convolution": lambda b, x: conv(b, conv(b, x, 4, 2, 3, 3), 2, 8, 1, 1),
    "rows and columns": lambda b, x: conv(b, conv(b, x, 4, 4, 3, 1), 4, 4, 1, 3),
    "depthwise separable": lambda b, x: conv(b, conv(b, x, 4, 4, 3, 3, group=4), 4, 8, 1, 1),
    "strided low rank": lambda b, x: conv(
        b, conv(b, x, 4, 2, 3, 3, strides=[2, 2]), 2, 8, 1, 1, bias=False
    ),
    "two large kernels": lambda b, x: conv(b, conv(b, x, 4, 4, 3, 3), 4, 4, 3, 3),
}


@pytest.mark.parametrize("pair", PAIRS)
def test_factorized_pairs_stay(pair: str) -> None:
    shape = ["n", 4] if pair == "low rank" else ["n", 4, 28, 28]
    refused("merge-chains", PAIRS[pair], shape, "not-cheaper")


def test_exactly_as_many_multiplications_stay_a_pair() -> None:
    net = _chain(lambda b, x: matmul(b, x, 6, 2), lambda b, x: matmul(b, x, 2, 3))
    refused("merge-chains", net, ["n", 6], "not-cheaper")


def test_depthwise_and_pointwise_merge_where_that_is_cheaper() -> None:
    """Three channels to 48 and each of those filtered: 27 + 3 weights against 9 + 9."""

    def net(b: Builder, x: str) -> str:
        return conv(b, conv(b, x, 1, 48, 1, 1, bias=False), 48, 48, 3, 3, group=48, pads=[1] * 4)

    done = merge("merge-chains", net, ["n", 1, 8, 8]).cheaper()
    assert done.ops == {"Conv": 1}


def _read_twice(b: Builder, x: str) -> str:
    h = conv(b, x, 4, MIDDLE, 1, 1)
    return b.op("Add", conv(b, h, MIDDLE, 4, 1, 1), b.op("ReduceMax", h))


def _stack(b: Builder, x: str) -> str:
    return b.op("MatMul", matmul(b, x, 8, 30), b.weight(4, 30, 2))


@pytest.mark.parametrize(
    ("net", "code"),
    [
        (lambda b, x: conv(b, conv(b, x, 4, 99, 1, 1), 99, 4, 3, 3, pads=[1] * 4), "padding"),
        (
            lambda b, x: conv(b, conv(b, x, 4, 900, 3, 3, bias=False), 900, 4, 2, 2, pads=[1] * 4),
            "padding",
        ),
        (_read_twice, "several-readers"),
        (_stack, "batched-weight"),
        (lambda b, x: left_matmul(b, matmul(b, x, 8, 30), 9, 5), "other-axis"),
        (lambda b, x: matmul(b, conv(b, x, 4, MIDDLE, 1, 1), 8, 5), "other-axis"),
        (lambda b, x: conv(b, transposed(b, x, 4, 99), 99, 4, 3, 3), "transposed"),
        (
            lambda b, x: b.op("Conv", conv(b, x, 4, 99, 1, 1), b.op("Relu", b.weight(4, 99, 1, 1))),
            "dynamic-weight",
        ),
        (
            lambda b, x: b.op(
                "Conv", conv(b, x, 4, 99, 1, 1), b.weight(4, 99, 1, 1), b.op("Relu", b.weight(4))
            ),
            "dynamic-bias",
        ),
    ],
)
def test_left_alone(net: Net, code: str) -> None:
    refused("merge-chains", net, SHAPE, code)


def test_same_padding_of_extents_that_only_the_run_knows() -> None:
    def net(b: Builder, x: str) -> str:
        return conv(b, conv(b, x, 4, 99, 1, 1), 99, 4, 3, 3, auto_pad="SAME_UPPER", strides=[2, 2])

    refused("merge-chains", net, ["n", 4, "h", 8], "auto-pad")


def test_bias_that_varies_over_the_rows() -> None:
    def net(b: Builder, x: str) -> str:
        return gemm(b, b.op("Gemm", x, b.weight(6, 20), b.weight(3, 20)), 20, 5)

    refused("merge-chains", net, [3, 6], "matrix-bias")


def test_values_between_that_are_outputs() -> None:
    def net(b: Builder, x: str) -> str:
        b.output("h")
        b.op("Gemm", x, b.weight(6, 20), to="h")
        return gemm(b, "h", 20, 5)

    refused("merge-chains", net, [3, 6], "is-output")


def test_what_overflows_stays() -> None:
    def net(b: Builder, x: str) -> str:
        h = b.op("MatMul", x, b.const(np.full((6, 20), 1e30, np.float32)))
        return b.op("MatMul", h, b.const(np.full((20, 5), 1e30, np.float32)))

    refused("merge-chains", net, [3, 6], "non-finite")


@pytest.mark.parametrize("wide", [20, 4000])
def test_weights_that_others_use_stay_as_they_are(wide: int) -> None:
    def net(b: Builder, x: str) -> str:
        shared = b.weight(6, wide)
        h = b.op("MatMul", b.op("MatMul", x, shared), b.weight(wide, 5))
        other = b.op("ReduceMax", b.op("Relu", b.op("MatMul", b.op("Exp", x), shared)))
        return b.op("Add", h, other)

    if wide == 4000:
        refused("merge-chains", net, [3, 6], "shared-weight")
        return
    done = merge("merge-chains", net, [3, 6]).cheaper()
    assert done.ops["MatMul"] == 2


def test_a_wrong_factor_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    right = arithmetic.chained
    monkeypatch.setattr(arithmetic, "chained", lambda *args: 2 * right(*args))
    done = merge("merge-chains", _chain(RIGHT["Gemm"], RIGHT_AFTER["Gemm"]), ["n", 6])
    with pytest.raises(AssertionError):
        done.cheaper()


@pytest.mark.parametrize(("target", "left"), [("x86-avx2", 1), ("x86-avx512", 2)])
def test_blocks_of_outputs_are_the_target_s(target: str, left: int) -> None:
    # 24 outputs are three blocks of eight: one layer of 40 x 24 for 40 x 16 and 16 x 24. Of
    # sixteen they are two blocks, one half empty: 40 x 32 for 40 x 16 and 16 x 32 is no gain.
    b = Builder()
    h = conv(b, b.input("x", ["n", 40, 9, 9]), 40, 16, 1, 1, bias=False)
    b.output(conv(b, h, 16, 24, 1, 1, bias=False), ["n", 24, 9, 9])
    result = PassManager(target=find(target)).run(Pipeline((MergeChains(),)), b.model())
    assert sum(n.is_op("Conv") for n in result.model.graph.nodes) == left
