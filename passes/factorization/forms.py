"""What it takes to write a layer as a chain of cheaper ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ocompress.analysis.linear_rows import MOST_INPUTS
from passes.factorization.alternate import Effort, alternate, letters, product
from passes.factorization.evbmf import Spectrum
from passes.factorization.normal_equations import error_of
from passes.factorization.problem import AXES, Problem
from passes.factorization.steps import Step

_GRID, _LEAST = 3, 6
"""Axes of a grid, channels included, and extents below which it has no structure to speak of."""
Ranks = tuple[int, ...]
Starts = Callable[[Ranks], list[np.ndarray]]
"""Gives factors of some ranks, to be used or to be fitted further."""


@dataclass(frozen=True, kw_only=True)
class ChainForm:
    """A way to write a layer as a chain of cheaper ones.

    A form is multilinear: a product of factors, each an array with some axes. Letters name them:
    c is input channels, u to z are spatial axes, n outputs, all others are ranks.

    Attributes:
        method: What people call it.
        ranks: Letters of its ranks.
        terms: Gives the letters of each factor's axes for a number of spatial axes.
        most: Gives the ranks with which it is exact.
        start: Gives what makes factors of some ranks.
        links: Gives the chain of one group's factors.
        spectra: Gives for each rank the singular values that it cuts off, and the shape of the
            matrix that they are of; None where there is no such matrix.
        axis: Spatial axis that it takes first, None if it has no such choice.
        closed: Whether what `start` makes is the minimum of the error already.
        mixes: Whether one factor has the outputs as its last axis and no other has them, so that
            it can be fitted to mixtures of them.
        flat: Whether it makes sense for a kernel of a single tap.
        grid: Whether it is one for layers behind a Flatten, and takes apart what is flattened.
        transposes: Whether the last layer walks alone, so that it may be a ConvTranspose.
    """

    method: str
    ranks: str
    terms: Callable[[int], tuple[str, ...]]
    most: Callable[[Problem], Ranks]
    start: Callable[[Problem], Starts]
    links: Callable[[Sequence[np.ndarray]], Sequence[Step]]
    spectra: Callable[[Problem], list[Spectrum]] | None = None
    axis: int | None = None
    closed: bool = False
    mixes: bool = True
    flat: bool = False
    transposes: bool = False
    grid: bool = False

    @property
    def name(self) -> str:
        """Its method, and which variant of it."""
        return self.method if self.axis is None else f"{self.method} {self.axis}"

    def refusal(self, problem: Problem) -> str | None:
        """Say why it is no form for a problem, None if it is."""
        kernel = problem.kernel
        if self.grid:
            wide = len(problem.grid) == _GRID and min(problem.grid[1:]) >= _LEAST
            if not wide or len(problem.matrix) > MOST_INPUTS:
                return "what it reads is no flattened grid, or too large a one"
            return None
        if self.axis is not None:
            wide = len(kernel) > self.axis and kernel[self.axis] > 1
            if not wide or sum(k > 1 for k in kernel) < 2:
                return "its kernel is wide along one axis alone"
        if not self.flat and int(np.prod(kernel)) == 1:
            return "its kernel has a single tap"
        return None

    def every(self, problem: Problem) -> list[Ranks] | None:
        """Return all the ranks there are, most weights first, if they are few; else None."""
        return None

    def of_rank(self, problem: Problem, rank: int) -> list[Ranks]:
        """Return what one rank for every axis means, as far as there are so many."""
        return [tuple(min(rank, most) for most in self.most(problem))]

    def setting(self, ranks: Ranks) -> str:
        """Say ranks in words."""
        return "rank " + " x ".join(map(str, ranks))

    def approximation(self, problem: Problem, factors: Sequence[np.ndarray]) -> np.ndarray:
        """Return what factors stand for, of the shape of the problem's tensor."""
        return product(self.terms(len(problem.kernel)), factors, letters(problem))

    def error(self, problem: Problem, factors: Sequence[np.ndarray]) -> float:
        """Return what a layer's chain costs whose factors were fitted to what `sees` returned."""
        seen = self.sees(problem)
        if self.mixes:
            return error_of(seen, self.terms(len(seen.kernel)), factors)
        return self.plain_error(problem, self.plain(seen, factors))

    def plain_error(self, problem: Problem, factors: Sequence[np.ndarray]) -> float:
        """Return what a layer's chain costs, given factors of the weight itself."""
        seen = self.sees(problem)
        if self.mixes:
            terms = self.terms(len(seen.kernel))
            return error_of(seen, terms, [*factors[:-1], seen.scaled(factors[-1])])
        return problem.error(problem.scaled(self.approximation(seen, factors)))

    def shapes(self, problem: Problem, ranks: Ranks) -> list[tuple[int, ...]]:
        """Return the shapes of the factors."""
        size = dict(zip(AXES, problem.tensor.shape[:-1], strict=False))
        size |= {"n": problem.outputs} | dict(zip(self.ranks, ranks, strict=True))
        terms = self.terms(len(problem.kernel))
        return [tuple(size[letter] for letter in term) for term in terms]

    def size(self, problem: Problem, ranks: Ranks) -> int:
        """Return the number of weights of the factors."""
        return sum(int(np.prod(shape)) for shape in self.shapes(problem, ranks))

    def sees(self, problem: Problem) -> Problem:
        """Return the problem that its factors are fitted to."""
        if self.grid:
            problem = problem.unflattened
        return problem if self.mixes else problem.apart

    def plain(self, problem: Problem, factors: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return factors of the weight itself; the problem's outputs are scaled and mixed."""
        terms = self.terms(len(problem.kernel))
        found = list(factors)
        if self.mixes:
            found[-1] = problem.plain(found[-1])
        else:
            at = next(i for i, term in enumerate(terms) if "n" in term)
            shape = [problem.outputs if letter == "n" else 1 for letter in terms[at]]
            found[at] = found[at] / problem.scale.reshape(shape)
        return found

    def fitted(
        self, problem: Problem, factors: list[np.ndarray], effort: Effort
    ) -> list[np.ndarray]:
        """Return factors fitted to what `sees` returned, from a start."""
        if self.closed:
            return factors
        return alternate(problem, self.terms(len(problem.kernel)), factors, effort)
