"""Zeros that become levels and levels that become zero, at no more bits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install ocompress[tune]")

from ocompress.archive.cosines import Plane, summed
from ocompress.archive.grids import find_grid
from ocompress.coding import LevelRates
from ocompress.io import as_dataset
from ocompress.ir import Model
from ocompress.training.cosine_form import Cosines
from ocompress.training.distillation import distill
from ocompress.training.level_budget import LevelBudget, Levelled
from ocompress.training.moving_forms import MovingLevels
from ocompress.training.settings import Settings
from ocompress.training.structure import form_of
from tests.build import Builder


def levels(share: float = 0.3) -> np.ndarray:
    rng = np.random.default_rng(0)
    found: np.ndarray = np.where(rng.random((48, 64)) < share, rng.integers(-9, 10, (48, 64)), 0)
    return found


def moving() -> MovingLevels:
    weight = (levels() * np.float32(0.125)).astype(np.float32)
    form = form_of(weight, moves_levels=True, moves_zeros=True)
    assert isinstance(form, MovingLevels)
    return form


def rows(form: Levelled) -> Any:
    """Return what levels are rounded from, [rows, columns]; setting it sets the form's."""
    return form.latent.tensor.detach().view(48, 64)


def bits(found: np.ndarray) -> float:
    return float(LevelRates.of(found[None]).bits(found[None]).sum())


def test_zeros_become_levels_and_levels_zero() -> None:
    waves = (summed(levels(), Plane(8, 8)) * 2.0**-14).astype(np.float32)
    pictures = form_of(waves, moves_levels=True, moves_zeros=True)
    assert isinstance(pictures, Cosines)
    for form in (moving(), pictures):
        before = form.whole()
        assert form.count >= before.size
        rows(form)[0] = 0.8
        rows(form)[1] = 0.2
        after = form.whole()
        assert (after[0] == 1).all()
        assert not after[1].any()
        np.testing.assert_array_equal(after[2:], before[2:])


def test_signs_stay_signs() -> None:
    weight = (np.sign(np.random.default_rng(1).standard_normal((16, 24))) / 4).astype(np.float32)
    form = form_of(weight, moves_levels=True, moves_zeros=True)
    assert isinstance(form, MovingLevels)
    assert form.latent.most is not None  # no budget is needed
    with torch.no_grad():
        form.latent.tensor.mul_(0.1)
    assert np.abs(form.whole()).min() == 1


def test_a_price_pulls_levels_down_as_far_as_they_take_more_bits() -> None:
    form = moving()
    budget = LevelBudget([form])
    latent = form.latent.tensor
    rows(form)[0] = torch.linspace(-0.4, 0.4, 64)
    latent.grad = torch.zeros_like(latent)
    budget.begin()
    budget.charge(0.5)
    pull = (latent.grad.view(48, 64) * torch.sign(rows(form))).numpy()
    assert (pull >= 0).all()
    assert not pull[1:][levels()[1:] == 0].any()
    ends = [LevelRates.of(form.whole()[None]).bits(np.full((1, 48, 64), n))[0, 0] for n in (0, 1)]
    np.testing.assert_allclose(pull[0], budget.price * (ends[1] - ends[0]).clip(0), rtol=1e-4)


def test_the_price_rises_while_levels_take_more() -> None:
    form = moving()
    budget = LevelBudget([form])
    assert budget.is_kept
    latent = form.latent.tensor
    latent.grad = torch.zeros_like(latent)
    prices = []
    for share in (0.3, 0.5, 0.1):
        rows(form)[:] = torch.from_numpy(levels(share).astype(np.float32))
        assert budget.is_kept == (bits(form.whole()) <= 1.01 * bits(levels()))
        budget.begin()
        budget.charge(0.5)
        prices.append(budget.price)
    assert prices[1] > 1.02 * prices[0]
    assert prices[2] < 0.95 * prices[1]


def on_grid(*, wrong: bool) -> Model:
    """Make a net of two layers of levels, of which half are zero; a few are where they are not."""
    rng = np.random.default_rng(4)
    b = Builder()
    h = b.input("x", ["n", 24])
    for inputs, outputs in ((24, 32), (32, 5)):
        found = rng.integers(-4, 5, (inputs, outputs)) * (rng.random((inputs, outputs)) < 0.6)
        if wrong:
            flat = found.reshape(-1)
            ends = [np.flatnonzero(flat == n)[: flat.size // 20] for n in (0, 1)]
            places = np.concatenate(ends)
            flat[places] = flat[places[::-1]]
        h = b.op("MatMul", h, b.const((found * 0.25).astype(np.float32)))
        h = b.op("Relu", h) if outputs > 5 else h
    b.op("Identity", h, to="y")
    b.output("y", ["n", 5])
    return b.model()


def test_levels_find_their_places() -> None:
    samples = np.random.default_rng(5).standard_normal((800, 24)).astype(np.float32)
    given = as_dataset({"x": samples}, on_grid(wrong=False))
    stay, move = (
        distill(
            on_grid(wrong=True),
            on_grid(wrong=False),
            given,
            Settings(epochs=40, rate=0.03, moves_levels=True, moves_zeros=zeros, mixup=False),
            lambda *_: None,
        )
        for zeros in (False, True)
    )
    assert move.after < 0.85 * stay.after < 0.85 * stay.before
    before = on_grid(wrong=True).graph.initializers
    sizes = [0.0, 0.0]
    for name, array in move.values.items():
        start = np.asarray(before[name].data)
        assert ((array == 0) & (start != 0)).any()
        assert ((array != 0) & (start == 0)).any()
        for at, weight in enumerate((start, array)):
            grid = find_grid(weight, *weight.shape)
            assert grid is not None
            sizes[at] += bits(grid.levels.astype(np.int64))
    assert sizes[1] <= 1.02 * sizes[0]
