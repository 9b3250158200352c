"""Rounding weights so that the layer's outputs change least on the inputs it will get.

What is fitted to two thirds of the samples has to prove itself on the last third, channel by
channel, or the channel stays rounded to nearest: with few samples a fit can do harm.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ocompress.analysis.second_moments import Folded, Moments
from ocompress.lossy.feedback import Feedback
from passes.quantization.weights import PAIR_SUM, QuantizedWeight

MOST_INPUTS = 4608
"""Inputs of a channel beyond which the moments take too much memory and time."""
_DAMPING = 0.01


@dataclass(frozen=True)
class Reconstruction:
    """A weight and what was found out about it.

    Attributes:
        weight: The integers and scales.
        bias: Shape (channels,), None if the layer has none.
        before: Squared output error of rounding to nearest, relative to the output's power.
        after: That of this weight, on the samples it was not fitted to.
        moved: Share of the channels that are not rounded to nearest.
    """

    weight: QuantizedWeight
    bias: np.ndarray | None
    before: float
    after: float
    moved: float


@dataclass(frozen=True)
class ReconstructionProblem:
    """A layer to round.

    Attributes:
        weight: Float weight, shape (channels, ...) with the channels first.
        groups: Groups of a convolution.
        rounded: The weight rounded to nearest; its scales are kept.
        limit: Largest magnitude of an integer.
        walks: Orders of the flat inputs in which pairs of products may be added in 16 bits;
            empty if nothing saturates.
        bias: Float bias, shape (channels,), None if the layer can have none.
    """

    weight: np.ndarray
    groups: int
    rounded: QuantizedWeight
    limit: int
    walks: Sequence[np.ndarray]
    bias: np.ndarray | None


def reconstruct(problem: ReconstructionProblem, moments: Folded) -> Reconstruction:
    """Choose integers by second order.

    Each input is rounded in turn and those to come make up for its error by the damped Hessian
    (`ocompress.lossy.feedback`): Frantar et al., Optimal Brain Compression (2022), in the order of
    GPTQ (2022). Zeros stay zeros. A bias makes up for the mean of what is left.

    Args:
        problem: The layer.
        moments: Of what it reads in the quantized model.
    """
    solver = _Solver(problem)
    try:
        return _solve(solver, moments)
    except np.linalg.LinAlgError:  # inputs that say nothing, however much they are damped
        bias = solver.bias(solver.plain, moments.whole)
        return Reconstruction(problem.rounded, bias, 0.0, 0.0, 0.0)


def _solve(solver: _Solver, moments: Folded) -> Reconstruction:
    judge, shares = _Judge(solver, moments), moments.shares
    plain = solver.plain
    before = judge.errors(judge.look_at(plain))
    proved = judge.errors(judge.look_at(solver.round(moments.fit, shares)))
    # the fewer rows judge, the more must be gained: chance alone gains that much
    better = proved < before * (1 - min(1.0, moments.judge.count**-0.5))
    made = judge.look_at(np.where(better[:, None], solver.round(moments.whole, shares), plain))
    solver.rescale(made, moments.fit, judge)
    after = np.minimum(proved, judge.errors(made))
    power = max(float(judge.power.sum()), 1e-30)
    return Reconstruction(
        solver.join(made.levels),
        solver.bias(made.levels, moments.whole),
        float(before.sum()) / power,
        float(np.minimum(before, after).sum()) / power,
        float(better.mean()),
    )


@dataclass(frozen=True)
class _Seen:
    """Integers, and what `Moments.across` says of them, (groups, inputs, channels / groups)."""

    levels: np.ndarray
    across: np.ndarray


class _Judge:
    """Looks at integers on samples that nothing is fitted to."""

    def __init__(self, solver: _Solver, moments: Folded) -> None:
        self._solver, self._fit = solver, moments.fit
        judge = moments.judge  # which is not turned into float64 again for each product
        self._judge = replace(judge, xx=judge.xx.astype(np.float64))
        self._across = self._judge.across(solver.weight)

    def __len__(self) -> int:
        """Rows that judge."""
        return self._judge.count

    @property
    def power(self) -> np.ndarray:
        """Mean square of the output of each channel."""
        return self._judge.power(self._solver.weight, self._across)

    def look_at(self, levels: np.ndarray) -> _Seen:
        """Return all that is to know of integers, whatever their scales."""
        return _Seen(levels, self._judge.across(levels))

    def errors(self, seen: _Seen) -> np.ndarray:
        """Return the mean squared output error of each channel, with the scales of the moment.

        The bias is the one that fits the other samples.
        """
        scales = self._solver.scales[:, None]
        off = seen.levels * scales - self._solver.weight
        found = self._judge.power(off, seen.across * scales - self._across)
        if self._solver.biased:
            shift = -(self._fit.mean[:, :, None] * off).sum(axis=1)
            mean = (self._judge.mean[:, :, None] * off).sum(axis=1)
            found = found + shift * (2 * mean + shift)
        return found.clip(0)


class _Solver:
    """Works on weights of shape (groups, inputs, channels / groups)."""

    def __init__(self, problem: ReconstructionProblem) -> None:
        self.problem = problem
        self.biased = problem.bias is not None
        self.weight = self.split(problem.weight.astype(np.float64))
        self.plain = self.split(problem.rounded.integers.astype(np.float64))
        channels = len(problem.weight)
        scales = np.broadcast_to(problem.rounded.scales.astype(np.float64), (channels,))
        self.scales = scales.reshape(problem.groups, -1)
        self.partners = _partners(self.weight.shape[1], problem.walks)

    def split(self, weight: np.ndarray) -> np.ndarray:
        """Return (groups, inputs, channels / groups) of a weight as the problem has it."""
        rows = weight.reshape(self.problem.groups, -1, int(np.prod(weight.shape[1:])))
        return rows.transpose(0, 2, 1)

    def join(self, levels: np.ndarray) -> QuantizedWeight:
        rounded = self.problem.rounded
        whole = levels.transpose(0, 2, 1).reshape(self.problem.weight.shape).astype(np.int8)
        scales = rounded.scales
        if scales.ndim:
            scales = self.scales.reshape(-1).astype(np.float32)
        return QuantizedWeight(np.ascontiguousarray(whole), scales, rounded.axis)

    def round(self, moments: Moments, shares: np.ndarray) -> np.ndarray:
        """Return integers, shape (groups, inputs, channels / groups).

        Args:
            moments: What the layer reads.
            shares: Part of their covariance that is luck, (groups,).
        """
        return self._sweep(Feedback.of(self._hessian(moments, shares)))

    def _hessian(self, moments: Moments, shares: np.ndarray) -> np.ndarray:
        """Return what errors cost, with a ridge, (groups, inputs, inputs)."""
        hessian = moments.shrunk(shares, centred=self.biased)
        diagonal = np.einsum("gii->gi", hessian)
        level = np.maximum(diagonal.mean(axis=1, keepdims=True), 0.0)
        scale = np.square(moments.mean).mean(axis=1, keepdims=True)
        diagonal += np.maximum(_DAMPING * level, 1e-9 * scale + 1e-30)
        return hessian

    def rescale(self, seen: _Seen, fit: Moments, judge: _Judge) -> None:
        """Fit the scale of each channel to the outputs, where that proves itself.

        In closed form, which also corrects the variance of the outputs (Nagel et al., 2019,
        correct their mean alone).

        Args:
            seen: The integers.
            fit: What scales are fitted to.
            judge: What they are judged by.
        """
        if self.problem.rounded.scales.ndim == 0:
            return  # one scale for all channels
        real = seen.levels * self.scales[:, None, :]
        across = fit.second(centred=self.biased) @ real
        power, wanted = (real * across).sum(axis=1), (self.weight * across).sum(axis=1)
        gain = np.where(power > 0, wanted / np.maximum(power, 1e-30), 1.0).clip(0.97, 1.03)
        before, old = judge.errors(seen), self.scales
        self.scales = (old * gain).astype(np.float32).astype(np.float64)
        chance = 1 - min(1.0, len(judge) ** -0.5)
        better = judge.errors(seen) < chance * before
        self.scales = np.where(better, self.scales, old)

    def bias(self, levels: np.ndarray, moments: Moments) -> np.ndarray | None:
        """Return the bias that keeps the mean output, shape (channels,)."""
        if self.problem.bias is None:
            return None
        off = levels * self.scales[:, None, :] - self.weight
        shift: np.ndarray = -(moments.mean[:, :, None] * off).sum(axis=1).reshape(-1)
        found: np.ndarray = self.problem.bias.astype(np.float64) + shift
        return found

    def _sweep(self, feedback: Feedback) -> np.ndarray:
        """Round input by input, the inputs to come making up for the error."""
        sweep = feedback.sweep(self.weight / self.scales[:, None, :])
        levels = np.zeros_like(sweep.wanted)
        for at in range(levels.shape[1]):
            low, high = self._room(levels, at)
            kept = self.weight[:, at] != 0  # what was pruned stays zero
            levels[:, at] = np.where(kept, np.clip(np.rint(sweep.wanted[:, at]), low, high), 0)
            sweep.give(at, levels[:, at])
        return levels

    def _room(self, levels: np.ndarray, at: int) -> tuple[np.ndarray | float, np.ndarray | float]:
        """Return the range of an input's integers that no partner rounded before objects to."""
        low: np.ndarray | float = -float(self.problem.limit)
        high: np.ndarray | float = float(self.problem.limit)
        for partner in self.partners.get(at, ()):
            other = levels[:, partner]
            high = np.where(other > 0, np.minimum(high, PAIR_SUM - other), high)
            low = np.where(other < 0, np.maximum(low, -PAIR_SUM - other), low)
        return low, high


def _partners(inputs: int, walks: Sequence[np.ndarray]) -> dict[int, list[int]]:
    """Return for each input those before it that it forms a pair with on some walk."""
    found: dict[int, list[int]] = {}
    for walk in walks:
        for first, second in zip(walk[0 : inputs // 2 * 2 : 2], walk[1::2], strict=False):
            early, late = sorted((int(first), int(second)))
            found.setdefault(late, []).append(early)
    return found
