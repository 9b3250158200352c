"""Forms that keep every output apart: groups and branches decide where each may look."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ocompress.analysis.linear_rows import MOST_INPUTS
from ocompress.lossy.fisher import MOST_OUTPUTS
from passes.factorization.alternate import Bounds, Effort, alternate, letters, product
from passes.factorization.forms import ChainForm, Ranks
from passes.factorization.problem import Problem

Masks = Callable[[Sequence[np.ndarray]], Mapping[int, np.ndarray]]
"""Gives by position of a factor which of its elements may be other than 0."""


@dataclass(frozen=True, kw_only=True)
class Direct(ChainForm):
    """A form whose factors are of the weight itself, its outputs neither scaled nor mixed.

    The curvature of pairs of outputs is one more factor, behind the others, that is never fitted.
    Arrays beyond the factors that `terms` names say where channels go.

    Attributes:
        outs: Letters of the outputs, as the last factor has them.
        split: Groups that the channels of what is fitted are told apart by; 1 for none.
        counts: Gives the number of weights.
        masks: Gives which elements may be other than 0.
        declines: Says why it is no form for a problem with some kernel.
        ladder: Gives all the ranks there are, most weights first; None if there are many.
        wants: Gives the ranks that one rank stands for.
        words: Says ranks in words.
    """

    outs: str = "m"
    split: int = 1
    counts: Callable[[Problem, Ranks], int]
    masks: Masks = lambda _: {}
    declines: Callable[[Problem], str | None]
    ladder: Callable[[Problem], list[Ranks]] | None = None
    wants: Callable[[Problem, int], list[Ranks]]
    words: Callable[[Ranks], str]

    @property
    def name(self) -> str:
        """Its method, and which variant of it."""
        return self.method if self.split == 1 else f"{self.method} {self.split}"

    def refusal(self, problem: Problem) -> str | None:
        """Say why it is no form for a problem, None if it is."""
        if max(problem.matrix.shape) > min(MOST_INPUTS, MOST_OUTPUTS):
            return "it has too many channels to be mixed"
        return super().refusal(problem) or self.declines(problem)

    def every(self, problem: Problem) -> list[Ranks] | None:
        """Return all the ranks there are, most weights first, if they are few; else None."""
        return None if self.ladder is None else self.ladder(problem)

    def of_rank(self, problem: Problem, rank: int) -> list[Ranks]:
        """Return what one rank means."""
        return self.wants(problem, rank)

    def setting(self, ranks: Ranks) -> str:
        """Say ranks in words."""
        return self.words(ranks)

    def size(self, problem: Problem, ranks: Ranks) -> int:
        """Return the number of weights of the factors."""
        return self.counts(problem, ranks)

    def sees(self, problem: Problem) -> Problem:
        """Return the problem that its factors are fitted to."""
        if self.split == 1:
            return problem
        shape = (self.split, -1, *problem.kernel, problem.outputs)
        return Problem(problem.tensor.reshape(shape), problem.metric, problem.scale)

    def plain(self, problem: Problem, factors: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return factors of the weight itself, which they are."""
        return list(factors)

    def approximation(self, problem: Problem, factors: Sequence[np.ndarray]) -> np.ndarray:
        """Return what factors stand for, of the tensor's shape, its outputs as they are."""
        terms = self.terms(len(problem.kernel))
        result = letters(problem)[:-1] + self.outs
        return product(terms, factors[: len(terms)], result).reshape(problem.tensor.shape)

    def error(self, problem: Problem, factors: Sequence[np.ndarray]) -> float:
        """Return what a layer's chain costs, all of whose outputs are as they are."""
        tensor = self.approximation(self.sees(problem), factors)
        return problem.error(problem.scaled(tensor))

    def plain_error(self, problem: Problem, factors: Sequence[np.ndarray]) -> float:
        """Return what a layer's chain costs: its factors are those of the weight already."""
        return self.error(problem, factors)

    def fitted(
        self, problem: Problem, factors: list[np.ndarray], effort: Effort
    ) -> list[np.ndarray]:
        """Return factors fitted to what `sees` returned, from a start."""
        terms = self.terms(len(problem.kernel))
        count = len(terms)
        sizes = dict(zip(terms[-1], factors[count - 1].shape, strict=True))
        shape = [sizes[letter] for letter in self.outs]
        mixing = problem.scale.reshape(*shape, problem.outputs)
        bounds = Bounds((count,), self.masks(factors))
        first = [*factors[:count], mixing]
        found = alternate(problem, (*terms, f"{self.outs}n"), first, effort, bounds)
        return [*found[:count], *factors[count:]]
