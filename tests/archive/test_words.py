"""Distinct rows of a matrix."""

from __future__ import annotations

import numpy as np
import pytest

from ocompress.archive import words

SHAPES = [(1, 2), (40, 2), (900, 9), (64, 16), (5000, 3)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("base", [1, 2, 5, 1 << 24])
def test_distinct_rows_are_those_of_numpy(shape: tuple[int, int], base: int) -> None:
    rng = np.random.default_rng(base)
    rows = rng.integers(0, base, shape)
    rows[::3] = rows[0]
    wanted, which = np.unique(rows, axis=0, return_inverse=True)
    for most in (len(wanted), len(rows)):
        found = words.distinct_rows(rows, base, most)
        assert found is not None
        np.testing.assert_array_equal(found[0], wanted)
        np.testing.assert_array_equal(found[1], which.reshape(-1))
    assert words.distinct_rows(rows, base, len(wanted) - 1) is None


def test_most_matrices_are_told_by_their_first_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    plain = words._ranked

    def ranked(rows: np.ndarray, base: int, most: int) -> tuple[np.ndarray, np.ndarray] | None:
        seen.append(len(rows))
        return plain(rows, base, most)

    monkeypatch.setattr(words, "_ranked", ranked)
    rows = np.random.default_rng(0).integers(0, 1000, (4000, 4))
    assert words.distinct_rows(rows, 1000, 100) is None
    assert seen == [200]
