"""Which inputs and which outputs go together, in groups of one size."""

from __future__ import annotations

import itertools

import numpy as np

_DRAWS = 8
"""Random starts beside the spectral one and the order that channels are in."""
_FEW, _ROUNDS = 4, 30
"""Turns that each start is given, and those that the best one is."""


def grouped(energy: np.ndarray, groups: int, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Put inputs and outputs into groups so that about the most energy lies within groups.

    Inputs and outputs take turns: with one side given, the other's best balanced assignment is
    looked for by swaps. It starts from the singular vectors of the normalised energies (Dhillon,
    Co-clustering Documents and Words Using Bipartite Spectral Graph Partitioning, 2001), from the
    order that channels are in, and from some random ones.

    Args:
        energy: What each weight is worth, (inputs, outputs), not negative.
        groups: Number of groups; divides both.
        seed: Draws the random starts.

    Returns:
        The group of each input and of each output.
    """
    rng = np.random.default_rng(seed)
    order = in_order(energy.shape[1], groups)
    starts = [order, _spectral(energy, groups), *(rng.permutation(order) for _ in range(_DRAWS))]
    found = [_alternated(energy, groups, start, _FEW) for start in starts]
    best = max(found, key=lambda pair: kept(energy, *pair))
    return _alternated(energy, groups, best[1], _ROUNDS)


def in_order(count: int, groups: int) -> np.ndarray:
    """Return the group of each channel if they stay in the order they are in."""
    return np.arange(count) * groups // count


def kept(energy: np.ndarray, ins: np.ndarray, outs: np.ndarray) -> float:
    """Return the part of an (inputs, outputs) energy that lies within groups.

    `ins` and `outs` number the group of each input and output.
    """
    return float(energy[ins[:, None] == outs[None]].sum())


def balanced(gains: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Improve an assignment by swaps until none gains anything; sizes of groups stay.

    Args:
        gains: What each member is worth in each group, (members, groups).
        start: The group of each member.
    """
    found = start.copy()
    least = 1e-12 * float(np.abs(gains).max(initial=0)) + 1e-300
    pairs = list(itertools.combinations(range(gains.shape[1]), 2))
    for _ in range(_ROUNDS):
        moved = 0
        for one, other in pairs:
            more = gains[:, other] - gains[:, one]
            here, there = np.flatnonzero(found == one), np.flatnonzero(found == other)
            here = here[np.argsort(-more[here], kind="stable")]
            there = there[np.argsort(more[there], kind="stable")]
            count = min(len(here), len(there))
            better = int((more[here[:count]] - more[there[:count]] > least).sum())
            found[here[:better]], found[there[:better]] = other, one
            moved += better
        if not moved:
            break
    return found


def _alternated(
    energy: np.ndarray, groups: int, outs: np.ndarray, rounds: int
) -> tuple[np.ndarray, np.ndarray]:
    """Assign inputs and outputs in turns, beginning with groups of outputs."""
    each = np.eye(groups)
    ins = balanced(energy @ each[outs], in_order(len(energy), groups))
    before = kept(energy, ins, outs)
    for _ in range(rounds):
        outs = balanced(energy.T @ each[ins], outs)
        ins = balanced(energy @ each[outs], ins)
        after = kept(energy, ins, outs)
        if after <= before * (1 + 1e-9):
            break
        before = after
    return ins, outs


def _spectral(energy: np.ndarray, groups: int) -> np.ndarray:
    """Group outputs by the leading singular vectors but the first, about members far apart."""
    down, right = (np.sqrt(energy.sum(axis=axis) + 1e-300) for axis in (1, 0))
    normal = energy / down[:, None] / right
    basis = np.linalg.svd(normal, full_matrices=False)[2][1:groups].T
    places = basis / right[:, None]
    places = places / np.maximum(np.linalg.norm(places, axis=1, keepdims=True), 1e-300)
    seeds = [0]
    away = np.full(len(places), np.inf)
    for _ in range(groups - 1):
        away = np.minimum(away, np.square(places - places[seeds[-1]]).sum(axis=1))
        seeds.append(int(away.argmax()))
    near = -np.square(places[:, None] - places[seeds][None]).sum(axis=2)
    return balanced(near, in_order(len(places), groups))
