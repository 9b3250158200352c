"""The family as a whole: known blocks, random nets, what it must never do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ocompress.ir import text
from ocompress.pipeline import PassManager, Pipeline, find
from passes.merging import emit
from tests.build import Builder
from tests.contract.harness import TARGET, context, outputs
from tests.passes.merging.merged import Net, merge


def conv(b: Builder, x: str, i: int, o: int, *kernel: int, **attrs: Any) -> str:
    weight = b.weight(o, i // attrs.get("group", 1), *kernel)
    return b.op("Conv", x, weight, b.weight(o), **attrs)


def rep_vgg(b: Builder, x: str, groups: int = 1) -> str:
    """Ding et al. 2021: three branches, each with its own normalization."""
    large = b.op("Conv", x, b.weight(6, 6 // groups, 3, 3), pads=[1] * 4, group=groups)
    small = b.op("Conv", x, b.weight(6, 6 // groups, 1, 1), group=groups)
    branches = [b.batch_norm(h, 6) for h in (large, small, x)]
    return b.op("Relu", b.op("Add", b.op("Add", branches[0], branches[1]), branches[2]))


def acnet(b: Builder, x: str, _: int = 1) -> str:
    """Ding et al. 2019: a square kernel, a row and a column."""
    kernels = {(3, 3): [1] * 4, (1, 3): [0, 1, 0, 1], (3, 1): [1, 0, 1, 0]}
    made = [b.batch_norm(conv(b, x, 6, 6, *k, pads=p), 6) for k, p in kernels.items()]
    return b.op("Relu", b.op("Add", made[2], b.op("Add", made[1], made[0])))


def diverse(b: Builder, x: str, _: int = 1) -> str:
    """Ding et al. 2021: an average and a wide pointwise layer beside a kernel."""
    wide = b.op("Conv", x, b.weight(60, 6, 1, 1))
    first = b.op("Conv", wide, b.weight(6, 60, 3, 3), b.weight(6), pads=[1] * 4)
    mean = b.op("AveragePool", x, kernel_shape=[3, 3], pads=[1] * 4, count_include_pad=1)
    return b.op("Relu", b.op("Add", b.op("Add", first, mean), conv(b, x, 6, 6, 1, 1)))


@pytest.mark.parametrize(
    ("block", "groups"), [(rep_vgg, 1), (rep_vgg, 2), (rep_vgg, 6), (acnet, 1), (diverse, 1)]
)
def test_blocks_become_one_convolution(block: Any, groups: int) -> None:
    def net(b: Builder, x: str) -> str:
        for _ in range(3):
            x = block(b, x, groups)
        return x

    b = Builder()
    b.op("Identity", net(b, b.input("x", ["n", 6, 8, 8])), to="y")
    b.output("y", ["n", 6, 8, 8])
    before = b.model()
    done = PassManager(target=TARGET).run(Pipeline.parse("merge-layers"), before)
    ops = [node.op_type for _, node in done.model.nodes() if node.op_type != "Identity"]
    assert ops == ["Conv", "Relu"] * 3
    left, right = outputs(before)["y"], outputs(done.model)["y"]
    np.testing.assert_allclose(right, left, 0, 4e-6 * np.abs(left).max())


def test_dense_transition_averages_first() -> None:
    def net(b: Builder, x: str) -> str:
        h = conv(b, b.op("Relu", x), 6, 3, 1, 1)
        return b.op("AveragePool", h, kernel_shape=[2, 2], strides=[2, 2])

    done = merge("merge-layers", net, ["n", 6, 8, 8]).cheaper()
    assert [n.op_type for _, n in done.result.after.nodes()][:3] == ["Relu", "AveragePool", "Conv"]


def test_shift_beside_a_kernel_becomes_its_bias() -> None:
    def net(b: Builder, x: str) -> str:
        h = conv(b, x, 6, 6, 3, 3, pads=[1] * 4)
        return b.op("Add", h, b.op("Add", x, b.weight(6, 1, 1)))

    assert merge("merge-layers", net, ["n", 6, 8, 8]).cheaper().ops == {"Conv": 1}


def random_net(b: Builder, x: str, seed: int) -> str:
    """Draw a net whose every value has six channels, with layers in rows, side by side, added."""
    rng = np.random.default_rng(seed)
    flat = [x]
    for _ in range(12):
        x = flat[int(rng.integers(max(0, len(flat) - 3), len(flat)))]
        match rng.integers(0, 8):
            case 0:
                made = b.op("Relu", x)
            case 1:
                made = conv(b, x, 6, 6, 3, 3, pads=[1] * 4, group=int(rng.choice([1, 2, 3, 6])))
            case 2:
                h = conv(b, x, 6, 48, 1, 1, group=int(rng.choice([1, 2, 3])))
                made = conv(b, h, 48, 6, 1, 1, group=int(rng.choice([1, 2, 3])))
            case 3:
                made = b.op("Add", conv(b, x, 6, 6, 1, 1), flat[-1])
            case 4:
                parts = [conv(b, x, 6, o, 1, 1) for o in (2, 4)]
                made = b.op("Concat", *parts, axis=1)
            case 5:
                made = b.op("AveragePool", x, kernel_shape=[3, 3], pads=[1] * 4)
            case 6:
                made = b.batch_norm(x, 6)
            case _:
                made = conv(b, x, 6, 6, 3, 1, pads=[1, 0, 1, 0])
        flat.append(made)
    total = flat[-1]
    for value in flat[-4:-1]:
        total = b.op("Add", total, value)
    return b.op("AveragePool", total, kernel_shape=[2, 2], strides=[2, 2])


@pytest.mark.parametrize("seed", range(40))
def test_random_nets(seed: int) -> None:
    done = merge("merge-layers", lambda b, x: random_net(b, x, seed), ["n", 6, 8, 8], seed=seed)
    if done.result.outcome:
        done.cheaper(2e-5)
    again = done.result.after.clone()
    assert not context(again).run_one(find("merge-layers")(), again)
    assert text(again) == text(done.result.after)


def test_random_nets_do_merge() -> None:
    merged = 0
    for seed in range(8):
        net: Net = lambda b, x, seed=seed: random_net(b, x, seed)  # type: ignore[misc]  # noqa: E731
        done = merge("merge-layers", net, ["n", 6, 8, 8], seed=seed)
        merged += done.ratio < 0.95
    assert merged >= 6


@pytest.mark.parametrize("what", ["weight", "bias"])
def test_doubled_numbers_would_be_noticed(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    right = emit.numbers

    def doubled(form: Any, weight: np.ndarray, bias: np.ndarray, like: Any) -> Any:
        return right(form, weight * (1 + (what == "weight")), bias * (1 + (what == "bias")), like)

    monkeypatch.setattr(emit, "numbers", doubled)
    for seed in range(4):
        done = merge("merge-layers", lambda b, x: random_net(b, x, seed), ["n", 6, 8, 8])  # noqa: B023
        with pytest.raises(AssertionError):
            done.cheaper(2e-5)
