"""What seeds of squares are relative to."""

from __future__ import annotations

import numpy as np
import pytest

from ocompress.analysis.gradients import sweep_gradients
from ocompress.analysis.gradients.seedings import Currency, Joined, Seeding
from ocompress.analysis.gradients.sizes import sized
from ocompress.ir import Model
from tests.build import Builder, InMemory

RNG = np.random.default_rng(2)
SQUARES = Seeding(Currency.SQUARES)


def regression(offset: float) -> Model:
    """Two numbers of a spread of about six around an offset."""
    b = Builder()
    x = b.input("x", ["n", 4])
    h = b.op("Mul", b.op("Tanh", b.op("MatMul", x, b.weight(4, 2))), b.const(np.float32(9)))
    b.op("Add", h, b.const(np.full(2, offset, np.float32)), to="y")
    b.output("y", ["n", 2])
    return b.model()


def seeds(offset: float, *sizes: int) -> np.ndarray:
    rng = np.random.default_rng(4)
    data = [{"x": rng.standard_normal((n, 4)).astype(np.float32)} for n in sizes]
    seen: list[np.ndarray] = []
    sweep_gradients(
        regression(offset),
        ["y"],
        InMemory(data),
        lambda _, __, g: seen.append(g.copy()),
        lambda *_: None,
    )
    return np.concatenate(seen)


@pytest.mark.parametrize("sizes", [(24,), (1,) * 24, (5, 19)])
def test_offsets_that_all_samples_share_change_no_seed(sizes: tuple[int, ...]) -> None:
    near, far = seeds(0, *sizes), seeds(1000, *sizes)
    np.testing.assert_allclose(far, near, rtol=1e-3)
    assert np.sqrt(np.square(near).mean()) == pytest.approx(1 / (6 * 2**0.5), rel=0.4)


def test_a_single_sample_has_its_size_for_a_spread() -> None:
    (one,) = seeds(1000, 1)
    assert np.abs(one).max() < 0.01


def test_columns_that_vary_differently_have_a_size_each() -> None:
    made = RNG.standard_normal((50, 2)) * [1, 300] + [500, 0]
    found = sized(SQUARES, [made])
    assert isinstance(found, Joined)
    sizes = [p.size for p in found.parts if isinstance(p, Seeding)]
    assert sizes == pytest.approx([1, 300], rel=0.3)


def test_pieces_of_an_output_have_a_size_each() -> None:
    made = RNG.standard_normal((60, 4)) * [3, 3, 0.001, 0.001] + [70, 90, 0.5, 0.5]
    halves = Joined(1, [np.arange(2), np.arange(2, 4)], [SQUARES, Seeding(Currency.SQUARES, -1)])
    found = sized(halves, [made[:9], made[9:]])
    assert isinstance(found, Joined)
    sizes = [p.size for p in found.parts if isinstance(p, Seeding)]
    # probabilities that hardly move are judged as if they moved by a hundredth
    assert sizes == pytest.approx([3, 0.01], rel=0.2)


def test_classes_are_drawn_as_they_were() -> None:
    logits = Seeding(Currency.LOGITS, 1)
    assert sized(logits, [np.zeros((3, 4))]) is logits
