"""Convolutions as a squeeze to few channels, and branches of 1 x 1 and of k x k behind it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from passes.factorization import starts
from passes.factorization.direct import Direct
from passes.factorization.forms import Ranks, Starts
from passes.factorization.problem import AXES, Problem
from passes.factorization.steps import ChainLink, Fork, Step

_DAMPING = 1e-9


def _start(problem: Problem) -> Starts:
    """Take input channels by their whitened components, and let outputs choose what they need.

    What stands behind the squeeze is solved for; those outputs that lose least are left the
    centre of the kernel alone, and are solved for once more.
    """
    left, rest = starts.bisected(problem, [0])
    known: dict[int, Problem] = {}

    def given(ranks: Ranks) -> list[np.ndarray]:
        wide, rank = ranks
        if rank not in known:
            known[rank] = starts.seen_through(problem, left[:, :rank], rest[:rank])
        small = known[rank]
        whole = problem.plain(small.tensor)
        point, lost = _pointwise(small, whole)
        chosen = np.zeros(problem.outputs, bool)
        chosen[np.argsort(-lost * problem.each, kind="stable")[:wide]] = True
        return [left[:, :rank], np.where(chosen, whole, point), chosen]

    return given


def _pointwise(problem: Problem, whole: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return what is best if only the centre of the kernel is left, and what each output loses.

    Args:
        problem: What stands behind the squeeze.
        whole: Its solution, (ranks, *kernel, outputs), its outputs as they are.
    """
    flat = whole.reshape(-1, problem.outputs)
    at = np.arange(problem.channels) * problem.taps + _flat_centre(problem.kernel)
    own = problem.whole()[np.ix_(at, at)]
    damped = own + _DAMPING * np.trace(own) / len(own) * np.eye(len(own))
    found = np.zeros_like(flat)
    found[at] = np.linalg.solve(damped, problem.whole()[at] @ flat)
    off = flat - found
    lost = (off * problem.weighed(off)).sum(axis=0)
    return found.reshape(whole.shape), lost


def _centre(kernel: Sequence[int]) -> tuple[int, ...]:
    return tuple((k - 1) // 2 for k in kernel)


def _flat_centre(kernel: Sequence[int]) -> int:
    return int(np.ravel_multi_index(_centre(kernel), tuple(kernel)))


def _masks(factors: Sequence[np.ndarray]) -> Mapping[int, np.ndarray]:
    _, core, wide = factors
    kernel = core.shape[1:-1]
    mask = np.broadcast_to(wide, (len(core), int(np.prod(kernel)), len(wide))).copy()
    mask[:, _flat_centre(kernel)] = True
    return {1: mask.reshape(core.shape)}


def _links(factors: Sequence[np.ndarray]) -> list[Step]:
    first, core, wide = factors
    dims = core.ndim - 2
    squeeze = ChainLink(first.T.reshape(*first.T.shape, *(1,) * dims), 1, (False,) * dims)
    whole = np.moveaxis(core, -1, 0)
    walks = (True,) * dims
    if wide.all():
        return [squeeze, ChainLink(whole, 1, walks)]
    centre = _centre(core.shape[1:-1])
    flat = whole[~wide].reshape(-1, len(core), int(np.prod(core.shape[1:-1])))
    point = flat[:, :, _flat_centre(core.shape[1:-1])].reshape(-1, len(core), *(1,) * dims)
    order = np.argsort(np.argsort(wide, kind="stable"), kind="stable")
    branches = [[ChainLink(point, 1, walks, tap=centre)], [ChainLink(whole[wide], 1, walks)]]
    return [squeeze, Fork(branches, order)]


def _size(problem: Problem, ranks: Ranks) -> int:
    wide, rank = ranks
    narrow = problem.outputs - wide
    return rank * (problem.channels + narrow + wide * problem.taps)


FIRE = Direct(
    method="fire",
    ranks="wr",
    terms=lambda dims: ("cr", "r" + AXES[1 : dims + 1] + "m"),
    most=lambda p: (p.outputs, p.channels),
    start=_start,
    links=_links,
    counts=_size,
    masks=_masks,
    declines=lambda _: None,
    wants=lambda p, rank: [(max(1, p.outputs // 2), min(rank, p.channels))],
    words=lambda r: f"squeeze {r[1]}, expand {r[0]} whole",
)
