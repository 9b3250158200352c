"""Covariances of few rows, less of what is luck in them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

_BAND = 64
"""Rows of a matrix that are worked on at a time: what is made of them stays in the cache."""


def bands(rows: int) -> Iterator[slice]:
    """Yield the rows of a matrix, some at a time."""
    for start in range(0, rows, _BAND):
        yield slice(start, start + _BAND)


def shrinkage(
    first: tuple[int, np.ndarray], second: tuple[int, np.ndarray], whole: np.ndarray
) -> np.ndarray:
    """Return how much of a covariance to replace by the mean variance in every direction.

    That is what is luck in it, relative to how far it is from a multiple of the identity (Ledoit
    and Wolf, A well-conditioned estimator for large-dimensional covariance matrices, 2004). What
    is luck shows in how far two parts of the samples are apart; with fewer samples than inputs it
    is much, and a fit that believed in it would do harm on samples to come.

    Args:
        first: Rows of one part of the samples, and their covariance, (groups, inputs, inputs).
        second: Those of the other part.
        whole: Covariance of all.

    Returns:
        One number from 0 to 1 per group.
    """
    rows, inputs = first[0] + second[0], whole.shape[1]
    if not (first[0] and second[0]):
        return one_part(rows, whole)
    apart, power = np.zeros(len(whole)), np.zeros(len(whole))
    for band in bands(inputs):
        apart += np.square(first[1][:, band] - second[1][:, band]).sum(axis=(1, 2))
        power += np.square(whole[:, band]).sum(axis=(1, 2))
    luck = apart * (first[0] * second[0] / rows**2)
    level = np.einsum("gii->g", whole) / inputs
    structure = power - inputs * level * level
    found: np.ndarray = np.where(luck < structure, luck / np.maximum(structure, 1e-300), 1.0)
    return found


def one_part(rows: int, covariance: np.ndarray) -> np.ndarray:
    """Return what `shrinkage` does, for one part: (groups,) of a (groups, inputs, inputs) array."""
    inputs = covariance.shape[1]
    return np.full(len(covariance), inputs / (inputs + max(rows, 1)))


def shrunk(covariance: np.ndarray, shares: np.ndarray, rows: int) -> np.ndarray:
    """Return a covariance shrunk towards its mean variance, see `shrinkage`.

    What never varied gets less, the more rows there were: the chance that the next one is the
    first in which it does, by the rule of succession, of the mean variance.

    Args:
        covariance: (groups, inputs, inputs).
        shares: (groups,).
        rows: That it is made from.
    """
    found: np.ndarray = covariance * (1 - shares)[:, None, None]
    diagonal = np.einsum("gii->gi", found)
    level = (np.einsum("gii->g", covariance) / covariance.shape[1])[:, None]
    unseen = np.minimum(shares, 1 / (rows + 2))
    diagonal += level * np.where(diagonal > 0, shares[:, None], unseen[:, None])
    return found
