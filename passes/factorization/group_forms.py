"""Convolutions by groups: blocks of low rank with a shuffle between, or the best blocks alone."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from passes.factorization.direct import Direct
from passes.factorization.forms import Ranks, Starts
from passes.factorization.grouping import grouped, in_order
from passes.factorization.problem import AXES, Problem
from passes.factorization.steps import ChainLink, Pick, ShuffleStep, Step

METHODS = ("shuffle", "blocks")
_DAMPING = 1e-9


def named(names: Sequence[str], groups: Sequence[int]) -> list[Direct]:
    """Return the forms of some methods.

    Args:
        names: The methods.
        groups: Numbers of groups to try.
    """
    rising = sorted(set(groups))
    found = [_shuffle(g) for g in rising] if "shuffle" in names else []
    return [*found, _blocks(rising)] if "blocks" in names else found


def _divides(groups: int, problem: Problem) -> bool:
    return not (problem.channels % groups or problem.outputs % groups)


def _unfit(problem: Problem) -> str | None:
    return None if problem.kernel else "it is no convolution"


# -- 1 x 1 in groups, a channel shuffle, 1 x 1 in groups (Dao et al., Monarch, 2022) ----------


def _shuffle(groups: int) -> Direct:
    return Direct(
        method="shuffle",
        ranks="r",
        terms=lambda dims: (AXES[: dims + 1] + "br", "cbrj"),
        most=partial(_shuffle_most, groups),
        start=_shuffle_start,
        links=_shuffle_links,
        outs="bj",
        split=groups,
        counts=lambda p, r: groups * r[0] * (p.channels * p.taps + p.outputs),
        declines=partial(_shuffle_declines, groups),
        wants=lambda p, rank: [(min(rank, _shuffle_most(groups, p)[0]),)],
        words=lambda r: f"rank {r[0]}",
        flat=True,
    )


def _shuffle_declines(groups: int, problem: Problem) -> str | None:
    if problem.taps > 1:
        return "its kernel has several taps"
    if not _divides(groups, problem):
        return f"its channels do not divide into {groups} groups"
    return _unfit(problem)


def _shuffle_most(groups: int, problem: Problem) -> Ranks:
    return (min(problem.channels * problem.taps, problem.outputs) // groups,)


def _shuffle_start(problem: Problem) -> Starts:
    """Take every block of inputs and outputs apart, whitened by its own inputs and outputs.

    Its best terms by the block's singular values are what is left of it: exact for each block,
    and the minimum of the error if inputs and outputs of different groups were independent.
    """
    groups, inputs, width = problem.channels, problem.taps, problem.outputs // problem.channels
    plain = problem.plain(problem.tensor).reshape(groups, inputs, groups, width)
    at = np.arange(groups)
    metric = problem.whole().reshape(groups, inputs, groups, inputs)[at, :, at]
    curvature = problem.curvature.reshape(groups, width, groups, width)[at, :, at]
    left, right = np.linalg.cholesky(metric), np.linalg.cholesky(curvature)
    white = np.einsum("aix,aibj,bjy->abxy", left, plain, right, optimize=True)
    u, s, v = np.linalg.svd(white, full_matrices=False)
    first = np.linalg.solve(left.transpose(0, 2, 1)[:, None], u * s[:, :, None])
    second = v @ np.linalg.inv(right)[None]
    whole = first.transpose(0, 2, 1, 3).reshape(groups, *problem.kernel, groups, -1)
    return lambda r: [whole[..., : r[0]], second[:, :, : r[0]]]


def _shuffle_links(factors: Sequence[np.ndarray]) -> list[Step]:
    first, second = factors
    groups, rank, dims = first.shape[0], first.shape[-1], first.ndim - 4
    squeezed = first.reshape(groups, -1, groups * rank).transpose(0, 2, 1)
    spread = second.transpose(1, 3, 0, 2)
    ones = (1,) * dims
    return [
        ChainLink(squeezed.reshape(-1, squeezed.shape[2], *ones), groups, (True,) * dims),
        ShuffleStep(1, groups, groups, rank),
        ChainLink(spread.reshape(-1, groups * rank, *ones), groups, (False,) * dims),
    ]


# -- the blocks that lose least, channels put in order for them --------------------------------


def _blocks(groups: Sequence[int]) -> Direct:
    return Direct(
        method="blocks",
        ranks="g",
        terms=lambda dims: (AXES[: dims + 1] + "m",),
        most=lambda _: (1,),
        start=_blocks_start,
        links=_blocks_links,
        counts=lambda p, r: p.tensor.size // r[0],
        masks=lambda factors: {0: _mask(*factors[:3])},
        declines=partial(_blocks_declines, groups),
        ladder=lambda p: [(g,) for g in groups if _divides(g, p)],
        wants=lambda _, __: [],
        words=lambda r: f"{r[0]} groups",
        flat=True,
    )


def _blocks_declines(groups: Sequence[int], problem: Problem) -> str | None:
    if not any(_divides(g, problem) for g in groups):
        return "its channels divide into none of the groups"
    return _unfit(problem)


def _mask(weight: np.ndarray, ins: np.ndarray, outs: np.ndarray) -> np.ndarray:
    same = ins[:, None] == outs[None]
    return np.broadcast_to(same.reshape(len(ins), *(1,) * (weight.ndim - 2), -1), weight.shape)


def _blocks_start(problem: Problem) -> Starts:
    """Choose groups by what dropping weights costs, and fit what is left to the metric.

    What a weight is worth is told in two ways, as if the others stayed as they are and as if they
    made up for it; the one whose blocks fit better counts, or the order that channels are in.
    """
    plain = problem.plain(problem.tensor).reshape(problem.channels, problem.taps, -1)
    energies = _energies(problem, plain)
    flat = plain.reshape(problem.matrix.shape)
    wanted = flat if problem.metric is None else problem.whole() @ flat

    def tried(groups: int) -> list[np.ndarray]:
        every = [grouped(energy, groups) for energy in energies]
        every.append((in_order(problem.channels, groups), in_order(problem.outputs, groups)))
        found = [_solved(problem, wanted, *pair) for pair in every]
        best = min(range(len(found)), key=lambda at: problem.error(problem.scaled(found[at])))
        return [found[best].reshape(problem.tensor.shape), *every[best]]

    return lambda r: tried(r[0])


def _energies(problem: Problem, plain: np.ndarray) -> list[np.ndarray]:
    """Return what each weight is worth, (channels, outputs), by two measures."""
    channels, taps = plain.shape[:2]
    at = np.arange(channels)
    found = []
    whole = problem.whole()
    metrics = [whole] if problem.metric is None else [whole, np.linalg.inv(whole)]
    for metric in metrics:
        own = metric.reshape(channels, taps, channels, taps)[at, :, at]
        if metric is not whole:
            own = np.linalg.inv(own)
        found.append(np.einsum("cun,cuv,cvn->cn", plain, own, plain, optimize=True) * problem.each)
    return [np.maximum(energy, 0) for energy in found]


def _solved(problem: Problem, wanted: np.ndarray, ins: np.ndarray, outs: np.ndarray) -> np.ndarray:
    """Return the weights within groups that lose least, (inputs, outputs), 0 elsewhere."""
    taps = np.repeat(ins, problem.taps)
    if problem.metric is None:
        return np.where(taps[:, None] == outs[None], wanted, 0)
    found = np.zeros_like(wanted)
    for group in range(int(ins.max()) + 1):
        rows, columns = np.flatnonzero(taps == group), np.flatnonzero(outs == group)
        own = problem.whole()[np.ix_(rows, rows)]
        damped = own + _DAMPING * np.trace(own) / len(own) * np.eye(len(own))
        found[np.ix_(rows, columns)] = np.linalg.solve(damped, wanted[np.ix_(rows, columns)])
    return found


def _blocks_links(factors: Sequence[np.ndarray]) -> list[Step]:
    weight, ins, outs = factors
    before, after = (np.argsort(side, kind="stable") for side in (ins, outs))
    groups = int(ins.max()) + 1
    inner = np.moveaxis(weight, -1, 0)[after].reshape(groups, -1, *weight.shape[:-1])
    rows = before.reshape(groups, -1)
    blocks = np.concatenate([own[:, own_rows] for own, own_rows in zip(inner, rows, strict=True)])
    walks = (True,) * (weight.ndim - 2)
    return [Pick(before), ChainLink(blocks, groups, walks), Pick(np.argsort(after, kind="stable"))]
