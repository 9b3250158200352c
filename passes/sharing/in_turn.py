"""Giving inputs of a layer values one after the other, what is left making up for each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from ocompress.lossy.feedback import Feedback
from ocompress.lossy.inverses import inverse_of_lower, kind_of

_PARTS = 8
"""Parts in which the outputs of an input get values, those that are left making up for each."""

Place = Callable[[np.ndarray, np.ndarray, int, np.ndarray], np.ndarray]
"""Given what numbers of some outputs (groups, n) should be, what a squared error of each costs, of
which input they are and of which outputs, (n,), returns their values."""


@dataclass(frozen=True)
class _Part:
    """Outputs that get values at once.

    Attributes:
        outputs: Which.
        rest: Those that get theirs later.
        cost: What an error of each costs if the rest makes up for it, (groups, n).
        passed: What the rest moves by for errors of these, (groups, n, rest).
    """

    outputs: np.ndarray
    rest: np.ndarray
    cost: np.ndarray
    passed: np.ndarray


@dataclass(frozen=True)
class InTurn:
    """The order in which a layer's weights get values, and what errors do to those to come.

    The error tr(G D^T H D) is least if errors of an input are passed on to the inputs to come by
    what H says (Frantar et al., GPTQ, 2023), and by what G says to outputs to come: nothing is
    solved again after each.

    Attributes:
        order: Of inputs.
        feedback: What errors of inputs do to those to come, in that order.
        parts: Of outputs.
    """

    order: np.ndarray
    feedback: Feedback
    parts: list[_Part]

    @classmethod
    def of(cls, hessian: np.ndarray, curvature: np.ndarray) -> InTurn:
        """Factorize what errors of a layer cost.

        Args:
            hessian: H, positive definite, (groups, inputs, inputs).
            curvature: G, (groups, outputs, outputs), or (groups, outputs).
        """
        order = np.random.default_rng(0).permutation(hessian.shape[1])
        return cls(order, Feedback.of(hessian[:, order[:, None], order]), _parts(curvature))

    @property
    def variance(self) -> np.ndarray:
        """What is left of each input's variance if those to come make up for it.

        Returns:
            (groups, inputs).
        """
        found = np.empty_like(self.feedback.variance)
        found[:, self.order] = self.feedback.variance
        return found

    @property
    def by_output(self) -> np.ndarray:
        """What an error of each output costs if those to come make up for it.

        Returns:
            (groups, outputs).
        """
        found = np.empty((len(self.feedback.variance), sum(len(p.outputs) for p in self.parts)))
        for part in self.parts:
            found[:, part.outputs] = part.cost
        return found

    @property
    def cost(self) -> np.ndarray:
        """What a squared error of each weight costs if those to come make up for it.

        Returns:
            (groups, inputs, outputs).
        """
        found: np.ndarray = self.variance[:, :, None] * self.by_output[:, None]
        return found

    def on(self, hessian: np.ndarray) -> float:
        """Return what errors of inputs do in the mean where others than H hold, passed on by H.

        Args:
            hessian: (groups, inputs, inputs).
        """
        there = hessian[:, self.order[:, None], self.order]
        total = 0.0
        for passed, products in zip(self.feedback.passed, there, strict=True):
            kind = kind_of(len(passed))
            moved = inverse_of_lower(passed.T.astype(kind)).T
            done = (moved @ products.astype(kind)) * moved
            total += float(done.sum(dtype=np.float64))
        return total / self.feedback.variance.size

    def in_steps(self, steps: np.ndarray) -> InTurn:
        """Return the same for whole numbers of steps, (groups,)."""
        variance = self.feedback.variance * np.square(steps)[:, None]
        return replace(self, feedback=replace(self.feedback, variance=variance))

    def fill(self, target: np.ndarray, place: Place) -> np.ndarray:
        """Return values of all weights, (groups, inputs, outputs), for each what `place` says.

        Args:
            target: What they should be.
            place: Chooses values.
        """
        sweep = self.feedback.sweep(target[:, self.order])
        values = np.zeros_like(target)
        variances = self.feedback.variance
        for at in range(len(self.order)):
            values[:, at] = self._row(sweep.wanted[:, at], place, at, variances[:, at, None])
            sweep.give(at, values[:, at])
        found = np.empty_like(values)
        found[:, self.order] = values
        return found

    def _row(self, wanted: np.ndarray, place: Place, at: int, variance: np.ndarray) -> np.ndarray:
        """Return the values of an input, (groups, outputs)."""
        left, values = wanted.copy(), np.empty_like(wanted)
        for part in self.parts:
            now = left[:, part.outputs]
            made = place(now, variance * part.cost, int(self.order[at]), part.outputs)
            values[:, part.outputs] = made
            if len(part.rest):
                off = (made - now)[:, None]
                left[:, part.rest] -= (off @ part.passed)[:, 0]
        return values


def _parts(curvature: np.ndarray) -> list[_Part]:
    outputs = curvature.shape[1]
    every = np.arange(outputs)
    if curvature.ndim == 2 or outputs == 1:
        none = np.zeros(0, np.intp)
        cost = curvature if curvature.ndim == 2 else curvature[:, 0]
        return [_Part(every, none, cost, np.zeros((len(curvature), outputs, 0)))]
    order = np.random.default_rng(1).permutation(outputs)
    found: list[_Part] = []
    for own in np.array_split(order, min(_PARTS, outputs)):
        rest = order[sum(len(p.outputs) for p in found) + len(own) :]
        pair = curvature[:, own[:, None], rest]
        passed = np.zeros((len(curvature), len(own), 0))
        within = curvature[:, own[:, None], own]
        if len(rest):
            behind = curvature[:, rest[:, None], rest]
            passed = np.linalg.solve(behind, pair.transpose(0, 2, 1)).transpose(0, 2, 1)
            within = within - passed @ pair.transpose(0, 2, 1)
        found.append(_Part(own, rest, np.einsum("goo->go", within), passed))
    return found
