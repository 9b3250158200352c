from __future__ import annotations

import numpy as np

from ocompress.coding import LevelRates, code_bits


def told(matrix: np.ndarray, *, hints: bool) -> float:
    """Return the bits that the estimate gives a matrix."""
    rates, bits = LevelRates(int(np.abs(matrix).max()), len(matrix)), 0.0
    for column in range(matrix.shape[1]):
        mean = float(np.abs(matrix[:, column]).mean()) if hints else None
        table = rates.bits(mean)
        bits += table[np.arange(len(matrix)), matrix[:, column] + rates.largest].sum()
        rates.update(matrix[:, column])
    return bits


def test_the_estimate_is_near_the_code() -> None:
    draw = np.random.default_rng(0)
    for scale in (0.25, 1.0, 3.0):
        matrix = np.rint(draw.laplace(0, scale, (60, 80))).astype(int)
        assert abs(told(matrix, hints=False) / code_bits(matrix) - 1) < 0.08


def test_means_of_columns_help() -> None:
    scales = np.where(np.arange(80) % 2, 0.1, 3.0)
    matrix = np.rint(np.random.default_rng(1).laplace(0, 1, (60, 80)) * scales).astype(int)
    assert told(matrix, hints=True) < 0.9 * told(matrix, hints=False)


def test_levels_are_distributions_of_both_signs() -> None:
    rates = LevelRates(3, 5)
    rates.update(np.array([3, 0, -1, 0, 2]))
    table = rates.bits()
    assert table.shape == (5, 7)
    np.testing.assert_array_equal(table, table[:, ::-1])
    assert (table[0, 3], table[1, 3]) != (table[1, 3], table[0, 3])
    np.testing.assert_allclose((2.0**-table).sum(axis=1), 1.0)
