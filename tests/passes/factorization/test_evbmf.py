"""Ranks found in noise."""

from __future__ import annotations

import numpy as np
import pytest

from passes.factorization.evbmf import Spectrum, evbmf_rank


@pytest.mark.parametrize(
    ("rows", "columns", "rank", "noise"),
    [(100, 60, 5, 0.1), (60, 100, 20, 0.5), (300, 300, 30, 1.0), (576, 128, 40, 0.3)],
)
def test_planted_rank_is_found(rows: int, columns: int, rank: int, noise: float) -> None:
    rng = np.random.default_rng(rank)
    planted = rng.standard_normal((rows, rank)) @ rng.standard_normal((rank, columns))
    noisy = planted + noise * rng.standard_normal((rows, columns))
    values = np.linalg.svd(noisy, compute_uv=False)
    assert abs(evbmf_rank(Spectrum(values, (rows, columns))) - rank) <= 1


def test_noise_alone_and_nothing_at_all() -> None:
    noise = np.random.default_rng(1).standard_normal((60, 200))
    values = np.linalg.svd(noise, compute_uv=False)
    assert evbmf_rank(Spectrum(values, (60, 200))) <= 2
    assert evbmf_rank(Spectrum(np.zeros(5), (5, 9))) == 1
