"""Passes that share by a rule, such as `circulant`: what weights share is counted out at load."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ocompress.archive.fastfood import find_fastfood
from ocompress.archive.tied_places import (
    buckets_of,
    diagonals,
    find_circulant,
    find_hashed,
)
from ocompress.errors import OptionError
from ocompress.ir import DType, Model, edit, packed
from ocompress.lossy.engine import LossyPass
from passes.sharing import random_words
from passes.sharing.fastfood import Fastfood
from passes.sharing.projections import Circulant, Hash, project
from passes.sharing.quadratic import Quadratic
from passes.sharing.random_code import RandomCode
from passes.storage.counted import StoredRandomWords
from passes.storage.forms import smallest
from passes.storage.kinds import Scaled
from passes.storage.random_numbers import bells
from tests.build import Builder
from tests.passes.pruning.on_data import error, run, weight_of
from tests.passes.pruning.test_prune_with_data import net
from tests.passes.sharing.test_planes import layer


def dense(width: int = 64) -> Model:
    """Make two dense layers that read correlated inputs."""
    b = Builder()
    mix = b.const(b.rng.standard_normal((32, 32)).astype(np.float32) / 4)
    h = b.op("Tanh", b.op("Gemm", b.input("x", ["n", 32]), mix, to="first"))
    h = b.op("Relu", b.op("Gemm", h, b.weight(32, width), b.weight(width), to="second"))
    b.output(b.op("Gemm", h, b.weight(width, 8), b.weight(8), to="y"), ["n", 8])
    return b.model()


def second(model: Model) -> np.ndarray:
    weight = weight_of(next(n for n in model.graph.nodes if n.label == "second"))
    assert weight is not None
    return weight


def test_circulant_blocks_are_found_again() -> None:
    after, outcome, ctx = run(Circulant(block=8), dense())
    assert outcome.counts["projections made"] == 3
    found = find_circulant(second(after))
    assert found is not None
    assert found[1] == 8
    assert np.array_equal(found[0].astype(np.float16), found[0])
    assert ctx.diagnostics.declined("circulant") == {}


def test_only_dense_layers_become_circulant() -> None:
    _, outcome, ctx = run(Circulant(block=2, smallest=0), net())
    assert outcome.counts["projections made"] == 2  # the pointwise convolution and the product
    assert ctx.diagnostics.declined("circulant")["not-dense"] == 2


def test_hashed_weights_are_found_again() -> None:
    after, _, _ = run(Hash(ratio=4), dense())
    found = find_hashed(second(after).reshape(-1))
    assert found is not None
    assert found[1] == 512
    after, outcome, _ = run(Hash(ratio=4), net())
    assert outcome.counts["projections made"] == 2  # kernels, too


def half(model: Model) -> Model:
    """Have a file hold the weights of a model in 16 bits."""
    for value in model.graph.initializers.values():
        if value.data is not None and value.data.ndim > 1:
            edit.set_weight(value, value.data.astype(np.float16).astype(np.float32))
            assert packed.cast(value, DType.FLOAT16, model.graph)
    return model


def test_numbers_of_16_bits_have_no_form_of_more() -> None:
    for item, left in ((Fastfood(), 3), (RandomCode(), 3), (Hash(), 0), (Circulant(), 0)):
        model = half(dense())
        before = second(model)
        _, outcome, ctx = run(item, model)
        assert ctx.diagnostics.declined(item.name)["short-numbers"] == left
        assert bool(outcome) is not bool(left)
        assert np.array_equal(before, second(half(dense())))


@pytest.mark.parametrize("block", [2, 8])
def test_fastfood_blocks_are_found_again(block: int) -> None:
    after, outcome, ctx = run(Fastfood(block=block), dense())
    assert outcome.counts["projections made"] == 3
    found = find_fastfood(second(after))
    assert found is not None
    assert found.size == block
    assert ctx.diagnostics.declined("fastfood") == {}
    after, outcome, _ = run(Fastfood(block=block, smallest=0), net())  # kernels, too
    assert outcome.counts["projections made"] == 4
    for node in after.graph.nodes:
        weight = weight_of(node)
        assert weight is None or find_fastfood(weight.reshape(len(weight), -1)) is not None


def test_blocks_are_powers_of_two() -> None:
    with pytest.raises(OptionError, match="fastfood: block is 6"):
        Fastfood(block=6)


def test_diagonals_cost_less_than_hashes_of_as_many_bytes() -> None:
    model = dense(256)
    lost = {}
    for item in (Fastfood(block=4), Hash(ratio=4)):
        after = run(item, model)[0]
        lost[item.name] = error(model, after), smallest(second(after)).nbytes
    assert lost["fastfood"][1] < lost["hash"][1]
    assert lost["fastfood"][0] < 0.9 * lost["hash"][0]


@pytest.mark.parametrize(("bits", "block"), [(8, 8), (10, 4)])
def test_random_words_are_found_again(bits: int, block: int) -> None:
    after, _, _ = run(RandomCode(bits=bits, block=block), dense(256))
    found = smallest(second(after))
    assert isinstance(found, Scaled)  # every output has a scale
    assert isinstance(found.levels, StoredRandomWords)
    assert found.levels.width == block
    assert found.levels.order.bits <= bits


@pytest.mark.parametrize(
    "items",
    [
        (Circulant(block=2), Circulant(block=8)),
        (Hash(ratio=2), Hash(ratio=8)),
        (Fastfood(block=2), Fastfood(block=8)),
        (RandomCode(bits=12, block=4), RandomCode(bits=8, block=8)),
    ],
)
def test_fewer_bytes_lose_more_and_data_help(items: tuple[LossyPass, LossyPass]) -> None:
    model = dense()
    lost = [error(model, run(item, model)[0]) for item in items]
    assert lost[0] < 0.7 * lost[1]
    assert lost[0] < 0.9 * error(model, run(items[0], model, data=False)[0])


def test_numbers_of_diagonals_are_means_without_data() -> None:
    target = np.random.default_rng(0).standard_normal((1, 12, 12))
    index = diagonals(12, 12, 4)[None]
    problem = Quadratic(target, None, np.ones((1, 12)))
    made = project(problem, index, np.ones(index.shape))
    for at in range(int(index.max()) + 1):
        assert np.allclose(made[index == at], target[index == at].mean(), rtol=1e-3)


def test_shared_numbers_cost_least_in_the_metric() -> None:
    problem = layer()
    shape = problem.target.shape
    buckets, negated = buckets_of(problem.target.size, 64)
    factor = np.where(negated, -1.0, 1.0).reshape(shape)
    index = buckets.reshape(shape)
    made = project(problem, index, factor)
    plain = project(replace(problem, hessian=None), index, factor)
    assert problem.cost(made) < 0.9 * problem.cost(plain)


@pytest.mark.parametrize("tall", [True, False])
@pytest.mark.parametrize("pairs", [True, False])
def test_words_make_up_for_each_other(tall: bool, pairs: bool) -> None:
    problem = layer(pairs=pairs)
    table = bells(4 << 8).reshape(-1, 4).astype(np.float64)
    found = random_words.solve(problem, table, tall=tall)
    alone = replace(problem, hessian=None)
    nearest = random_words.solve(alone, table, tall=tall)
    assert problem.cost(found.matrix) < 0.6 * problem.cost(nearest.matrix)
    start = random_words.solve(problem, table, tall=tall, rounds=0)
    assert problem.cost(found.matrix) < 0.97 * problem.cost(start.matrix)


def test_blocks_divide_rows_or_the_layer_is_named() -> None:
    b = Builder()
    x = b.input("x", ["n", 1, 8, 8])
    h = b.op("Conv", x, b.weight(64, 1, 5, 5), b.weight(64), to="rows", pads=[2, 2, 2, 2])
    h = b.op("Conv", h, b.weight(16, 64, 1, 1), b.weight(16), to="eight")
    h = b.op("Conv", h, b.weight(7, 16, 7, 1), b.weight(7), to="seven")
    h = b.op("Flatten", b.op("GlobalAveragePool", h))
    b.output(b.op("Gemm", h, b.weight(7, 41), b.weight(41), to="odd"), ["n", 41])
    _, outcome, ctx = run(RandomCode(block=8), b.model())
    found = {row["name"]: row["setting"] for row in outcome.details["moves"] if "setting" in row}
    assert found == {
        "rows": "12 bits for 5 weights",
        "eight": "12 bits for 8 weights",
        "seven": "12 bits for 8 weights",
    }
    assert ctx.diagnostics.declined("random-code")["no-block"] == 1


def test_blocks_lie_within_one_of_the_matrices_of_a_stack() -> None:
    """Eight divide a matrix of 8 x 12 and not a row of it."""
    b = Builder()
    h = b.op("MatMul", b.input("x", ["n", 3, 5, 8]), b.weight(3, 8, 12), to="stack")
    b.output(b.op("ReduceMean", b.op("Tanh", h), axes=[1, 2], keepdims=0, to="y"), ["n", 12])
    _, outcome, _ = run(RandomCode(block=8, smallest=1), b.model())
    found = {row["name"]: row["setting"] for row in outcome.details["moves"] if "setting" in row}
    assert found == {"stack": "12 bits for 4 weights"}
