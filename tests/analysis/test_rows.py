"""Which elements of an output belong to which sample."""

from __future__ import annotations

import numpy as np
import pytest

from ocompress.analysis.rows import by_sample, row_count


@pytest.mark.parametrize(
    ("shape", "samples", "rows"),
    [
        ((4, 10), 4, 4),
        ((7, 4, 10), 4, 4),  # steps first
        ((12, 10), 4, 4),  # three rows a sample
        ((10,), 4, 1),
        ((), 4, 1),
        ((1, 10), 1, 1),
        ((5,), 1, 1),
        ((0, 3), 4, 1),
        ((4, 0), 4, 4),
        ((3, 5), 0, 1),
    ],
)
def test_samples_are_found(shape: tuple[int, ...], samples: int, rows: int) -> None:
    assert row_count(shape, samples) == rows
    found = by_sample(np.zeros(shape), samples)
    assert found.shape == (rows, np.prod(shape) // rows)


def test_elements_of_a_sample_stay_together() -> None:
    steps = np.arange(3)[:, None, None] + 100 * np.arange(4)[None, :, None] + np.zeros((3, 4, 2))
    assert (by_sample(steps, 4) // 100 == np.arange(4)[:, None]).all()
    flat = np.arange(12).reshape(12, 1)
    assert by_sample(flat, 4).tolist() == np.arange(12).reshape(4, 3).tolist()
