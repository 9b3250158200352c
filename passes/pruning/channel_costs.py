"""In which order channels go, by what the layers that read them lose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise

import numpy as np

from ocompress.lossy.inverses import kind_of
from passes.pruning.surgery import Missing, State, Surgery

_STEPS = 256
"""Steps in which all channels of a group go at most; more channels go several at a time."""
_PROBED = 0.33
"""Share of the channels that is gone when a group is tried out."""
_JUDGED = 16
"""Points of an order at which its cost is judged on samples left out; between them it is taken to
grow evenly."""


@dataclass(frozen=True)
class Reader:
    """A matrix of a layer that reads the channels of a group.

    Attributes:
        matrix: (inputs, outputs).
        hessian: Mean products of what it reads: (inputs, inputs).
        curvature: What errors of pairs of outputs cost, (outputs, outputs); or what a squared error
            of each costs, (outputs,).
        rows: Inputs of each channel, (channels, most), filled up with -1.
        fixed: Whether its other weights cannot make up for what goes.
        parts: Where rows are scarce, mean products of the samples to fit to and of those to judge
            by, (inputs, inputs) each.
    """

    matrix: np.ndarray
    hessian: np.ndarray
    curvature: np.ndarray
    rows: np.ndarray
    fixed: bool = False
    parts: tuple[np.ndarray, np.ndarray] | None = None

    def scaled(self) -> np.ndarray:
        """Return the matrix times S, S S^T being what errors of outputs cost."""
        found: np.ndarray = (
            self.matrix * self._root if self.curvature.ndim == 1 else self.matrix @ self._root
        )
        return found

    def plain(self, scaled: np.ndarray) -> np.ndarray:
        """Undo the scaling of a matrix [rows, outputs]."""
        if self.curvature.ndim == 1:
            divided: np.ndarray = scaled / self._root
            return divided
        found: np.ndarray = np.linalg.solve(self._root.T, scaled.T).T
        return found

    @cached_property
    def _root(self) -> np.ndarray:
        """S, (outputs, outputs); (outputs,) where it is diagonal."""
        if self.curvature.ndim == 1:
            each: np.ndarray = np.sqrt(np.maximum(self.curvature, 1e-30))
            return each
        damp = max(1e-9 * float(np.trace(self.curvature)) / len(self.curvature), 1e-30)
        found: np.ndarray = np.linalg.cholesky(self.curvature + damp * np.eye(len(self.curvature)))
        return found


@dataclass(frozen=True)
class Order:
    """The order in which the channels of a group go.

    Attributes:
        channels: Their numbers, the first to go first.
        costs: What all channels up to each cost together; never falls.
        probe: The matrices of the readers without the first channels, the other weights having
            made up for them; empty if the criterion makes none.
        probed: How many channels are gone in the probe.
        left_out: Whether the probe was fitted to a part of the samples only, and the others are to
            tell what it costs.
    """

    channels: np.ndarray
    costs: np.ndarray
    probe: tuple[np.ndarray, ...] = ()
    probed: int = 0
    left_out: bool = False


def surgeon(readers: Sequence[Reader], size: int) -> Order:
    """Take channels one by one, the weights of the others making up for each.

    A channel costs what is left of its contribution when the inputs of the other channels are
    known, its weights being a block of optimal brain surgeon's (Kurtic et al., ZipLM, 2023).

    Args:
        readers: All that read the channels.
        size: Number of channels.
    """
    return _greedy(_states(readers), size)


def greedy(readers: Sequence[Reader], size: int) -> Order:
    """Take those channels whose sum the readers miss least, with nothing made up for.

    Luo et al., ThiNet, 2017.
    """
    return _greedy([Missing(r) for r in readers], size)


def follow(readers: Sequence[Reader], channels: np.ndarray) -> Order:
    """Take channels in an order that is given, at what it costs after all others made up for it.

    Args:
        readers: All that read the channels.
        channels: All of their numbers, (channels,), the first to go first.
    """
    return _greedy(_states(readers), len(channels), channels)


def judged(order: Order, readers: Sequence[Reader]) -> Order:
    """Count costs on samples that the other weights were not fitted to, where rows are scarce.

    A layer of more inputs than rows can make up for nearly all that goes, on those rows; on others
    it cannot.

    Args:
        order: The order in which channels go.
        readers: All that read the channels.
    """
    if not any(reader.parts for reader in readers):
        return order
    fitted = [r if r.parts is None else replace(r, hessian=r.parts[0]) for r in readers]
    judges = [r.hessian if r.parts is None else r.parts[1] for r in readers]
    judges = [j.astype(kind_of(len(j)), copy=False) for j in judges]
    states, before = _states(fitted), [r.scaled() for r in readers]
    size = len(order.channels)
    points = np.unique(np.linspace(0, size, min(size, _JUDGED) + 1).astype(int))
    costs = [0.0]
    probe: tuple[np.ndarray, ...] = ()
    probed = 0
    for start, stop in pairwise(points):
        for state in states:
            state.take(order.channels[start:stop])
        off = [s.scaled() - b for s, b in zip(states, before, strict=True)]
        costs.append(sum(_product(j, o) for j, o in zip(judges, off, strict=True)))
        if not probed and stop >= _PROBED * size:
            probe, probed = tuple(s.matrix() for s in states), int(stop)
    rising = np.maximum.accumulate(np.maximum(costs, 0))
    found = np.interp(np.arange(1, size + 1), points, rising)
    return Order(order.channels, found, probe, probed, left_out=True)


def by_score(scores: np.ndarray) -> Order:
    """Take the channels of the smallest scores, (channels,), first; scores are their costs."""
    order = np.argsort(scores, kind="stable")
    return Order(order, np.cumsum(scores[order].clip(0)))


def alone(readers: Sequence[Reader], size: int) -> np.ndarray:
    """Return what each channel costs if it goes alone and nothing makes up for it."""
    total = np.zeros(size)
    for reader in readers:
        total += Missing(reader).scores()
    return total


def power(readers: Sequence[Reader], size: int) -> np.ndarray:
    """Return the mean square of what is read of each channel."""
    total = np.zeros(size)
    for reader in readers:
        diagonal = np.diagonal(reader.hessian)
        total += np.where(reader.rows >= 0, diagonal[reader.rows], 0).sum(axis=1)
    return total


def _greedy(states: Sequence[State], size: int, given: np.ndarray | None = None) -> Order:
    left = np.ones(size, bool)
    order: list[int] = []
    costs: list[float] = []
    spent = 0.0
    batch = max(1, size // _STEPS)
    probe: tuple[np.ndarray, ...] = ()
    probed = 0
    while left.any():
        scores = np.sum([s.scores() for s in states], axis=0) if states else np.zeros(size)
        scores = np.where(left, scores, np.inf)
        ranked = np.argsort(scores, kind="stable") if given is None else given[len(order) :]
        chosen = ranked[: min(batch, int(left.sum()))]
        for channel in chosen:
            spent += max(float(scores[channel]), 0.0)
            order.append(int(channel))
            costs.append(spent)
        left[chosen] = False
        for state in states:
            state.take(chosen)
        if not probed and len(order) >= _PROBED * size:
            probe, probed = tuple(s.matrix() for s in states), len(order)
    return Order(np.array(order), np.array(costs), probe, probed)


def _states(readers: Sequence[Reader]) -> list[State]:
    return [Missing(r) if r.fixed else Surgery(r) for r in readers]


def _product(judge: np.ndarray, off: np.ndarray) -> float:
    """Return the mean square of what inputs times `off`, (inputs, outputs), are."""
    off = off.astype(judge.dtype)
    return float((off * (judge @ off)).sum(dtype=np.float64))
