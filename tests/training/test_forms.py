"""Numbers that are trained, and what holds them."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install ocompress[tune]")

from ocompress.archive.grids import Grid
from ocompress.training.moving_forms import MovingLevels
from ocompress.training.trained_numbers import TrainedNumbers


def test_magnitudes_sum_up_to_no_more_than_they_did() -> None:
    numbers = TrainedNumbers(np.array([3.0, -1.0, 0.0, 2.0], np.float32), bounded=True)
    with torch.no_grad():
        numbers.tensor.copy_(torch.tensor([4.5, -2.5, 0.0, 2.0]))
    numbers.bound()
    np.testing.assert_allclose(numbers.tensor.detach(), [3.5, -1.5, 0.0, 1.0])
    numbers.bound()
    np.testing.assert_allclose(numbers.tensor.detach(), [3.5, -1.5, 0.0, 1.0])
    free = TrainedNumbers(np.ones(2, np.float32))
    with torch.no_grad():
        free.tensor.mul_(7)
    free.bound()
    np.testing.assert_array_equal(free.tensor.detach(), [7.0, 7.0])


def test_levels_that_are_trained_do_not_spread() -> None:
    """Or the archive would grow: levels far from zero take more bits."""
    levels = np.random.default_rng(0).integers(-4, 5, (8, 32)).astype(np.int32)
    form = MovingLevels(Grid(np.full(8, 0.1, np.float32), levels, 1, 32), (8, 32), None)
    leaf = form.leaves[1]
    with torch.no_grad():
        leaf.tensor.mul_(1.5)
    leaf.bound()
    assert np.abs(form.exact() / 0.1).sum() <= 1.05 * np.abs(levels).sum()
