"""Every form that a layer can be given: its factors, where they start, and its chain of layers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from passes.factorization import starts
from passes.factorization.alternate import AXES, Effort, alternate, letters, product
from passes.factorization.problem import Problem

Ranks = tuple[int, ...]
Starts = Callable[[Ranks], list[np.ndarray]]


@dataclass(frozen=True)
class Link:
    """One convolution of a chain.

    Attributes:
        weight: (outputs, input channels of a group, *kernel).
        groups: Its groups.
        walks: For each spatial axis whether it takes the layer's strides, pads and dilations.
    """

    weight: np.ndarray
    groups: int
    walks: tuple[bool, ...]


class Form(ABC):
    """A way to write a layer as a chain of cheaper ones.

    A form is multilinear: a product of factors, each an array with some axes. Letters name them:
    c is input channels, u to z are spatial axes, n outputs, all others are ranks.
    """

    name: ClassVar[str]
    ranks: ClassVar[str]
    """Letters of its ranks."""
    closed: ClassVar[bool] = False
    """Whether its start is the minimum already."""

    @abstractmethod
    def terms(self, dims: int) -> tuple[str, ...]:
        """Return the letters of each factor's axes, for a number of spatial axes."""

    @abstractmethod
    def most(self, problem: Problem) -> Ranks:
        """Return the ranks with which it is exact."""

    @abstractmethod
    def start(self, problem: Problem) -> Starts:
        """Return what gives factors of some ranks to start from."""

    @abstractmethod
    def links(self, factors: Sequence[np.ndarray]) -> list[Link]:
        """Return the chain of one group's factors."""

    @property
    def transposes(self) -> bool:
        """Whether only the last layer walks, so that it may be a ConvTranspose."""
        return False

    def refusal(self, kernel: Sequence[int]) -> str | None:
        """Say why it is no form for a kernel, None if it is."""
        if int(np.prod(kernel)) == 1:
            return "its kernel has a single tap"
        return None

    def approximation(self, problem: Problem, factors: Sequence[np.ndarray]) -> np.ndarray:
        """Return the tensor that factors stand for."""
        return product(self.terms(len(problem.kernel)), factors, letters(problem))

    def shapes(self, problem: Problem, ranks: Ranks) -> list[tuple[int, ...]]:
        """Return the shapes of the factors."""
        size = dict(zip(AXES, problem.tensor.shape[:-1], strict=False))
        size |= {"n": problem.outputs} | dict(zip(self.ranks, ranks, strict=True))
        terms = self.terms(len(problem.kernel))
        return [tuple(size[letter] for letter in term) for term in terms]

    def fitted(
        self, problem: Problem, factors: list[np.ndarray], effort: Effort
    ) -> list[np.ndarray]:
        """Return factors fitted in the metric of the problem, from a start."""
        if self.closed:
            return factors
        return alternate(problem, self.terms(len(problem.kernel)), factors, effort)


class OutputRank(Form):
    """k x k to r channels, then 1 x 1: principal components of the outputs (Zhang, 2015)."""

    name = "channel"
    ranks = "r"
    closed = True

    def terms(self, dims: int) -> tuple[str, ...]:
        return AXES[: dims + 1] + "r", "rn"

    def most(self, problem: Problem) -> Ranks:
        return (min(problem.matrix.shape),)

    def start(self, problem: Problem) -> Starts:
        first, second = starts.outputs_first(problem)
        shape = problem.tensor.shape[:-1]
        return lambda r: [first[:, : r[0]].reshape(*shape, -1), second[: r[0]]]

    def refusal(self, kernel: Sequence[int]) -> str | None:
        return None

    def links(self, factors: Sequence[np.ndarray]) -> list[Link]:
        first, second = factors
        dims = first.ndim - 2
        return [
            Link(np.moveaxis(first, -1, 0), 1, (True,) * dims),
            _pointwise(second, dims),
        ]


class InputRank(Form):
    """1 x 1 to r channels, then k x k."""

    name = "input"
    ranks = "r"
    transposes = True

    def terms(self, dims: int) -> tuple[str, ...]:
        return "cr", "r" + AXES[1 : dims + 1] + "n"

    def most(self, problem: Problem) -> Ranks:
        return (problem.channels,)

    def start(self, problem: Problem) -> Starts:
        first, second = starts.bisected(problem, [0])
        return lambda r: [first[:, : r[0]], second[: r[0]]]

    def links(self, factors: Sequence[np.ndarray]) -> list[Link]:
        first, second = factors
        dims = second.ndim - 2
        return [
            _pointwise(first, dims),
            Link(np.moveaxis(second, -1, 0), 1, (True,) * dims),
        ]


@dataclass(frozen=True)
class Spatial(Form):
    """k x 1, then 1 x k (Jaderberg et al., 2014), along one axis first.

    Attributes:
        axis: The spatial axis of the first kernel.
    """

    axis: int = 0

    ranks = "r"

    @property
    def name(self) -> str:  # type: ignore[override]
        return "spatial" if self.axis == 0 else f"spatial-{self.axis}"

    def terms(self, dims: int) -> tuple[str, ...]:
        own = AXES[1 + self.axis]
        return f"c{own}r", "r" + AXES[1 : dims + 1].replace(own, "") + "n"

    def most(self, problem: Problem) -> Ranks:
        rows = problem.channels * problem.kernel[self.axis]
        return (min(rows, problem.tensor.size // rows),)

    def refusal(self, kernel: Sequence[int]) -> str | None:
        if len(kernel) <= self.axis or sum(k > 1 for k in kernel) < 2 or kernel[self.axis] == 1:
            return "its kernel is wide along one axis alone"
        return None

    def start(self, problem: Problem) -> Starts:
        first, second = starts.bisected(problem, [0, 1 + self.axis])
        shape = problem.channels, problem.kernel[self.axis]
        return lambda r: [first[:, : r[0]].reshape(*shape, -1), second[: r[0]]]

    def links(self, factors: Sequence[np.ndarray]) -> list[Link]:
        first, second = factors
        dims = second.ndim - 1
        ours = tuple(at == self.axis for at in range(dims))
        kernel = [1] * dims
        kernel[self.axis] = first.shape[1]
        weight = first.transpose(2, 0, 1).reshape(first.shape[2], first.shape[0], *kernel)
        rest = np.expand_dims(np.moveaxis(second, -1, 0), 2 + self.axis)
        return [Link(weight, 1, ours), Link(rest, 1, tuple(not o for o in ours))]


class Tucker(Form):
    """1 x 1, k x k between fewer channels, 1 x 1 (Kim et al., 2016).

    Input channels by their whitened components, then outputs by theirs on what that leaves: one
    turn of orthogonal iteration, which alternating least squares goes on with.
    """

    name = "tucker"
    ranks = "ab"

    def terms(self, dims: int) -> tuple[str, ...]:
        return "ca", "a" + AXES[1 : dims + 1] + "b", "bn"

    def most(self, problem: Problem) -> Ranks:
        return problem.channels, min(problem.outputs, problem.matrix.shape[0])

    def start(self, problem: Problem) -> Starts:
        left, rest = starts.bisected(problem, [0])
        known: dict[int, tuple[np.ndarray, np.ndarray]] = {}

        def given(ranks: Ranks) -> list[np.ndarray]:
            inner, outer = ranks
            if inner not in known:
                known[inner] = starts.outputs_first(
                    _seen_through(problem, left[:, :inner], rest[:inner])
                )
            first, second = known[inner]
            core = first[:, :outer].reshape(inner, *problem.kernel, -1)
            return [left[:, :inner], core, second[:outer]]

        return given

    def links(self, factors: Sequence[np.ndarray]) -> list[Link]:
        first, core, last = factors
        dims = core.ndim - 2
        return [
            _pointwise(first, dims),
            Link(np.moveaxis(core, -1, 0), 1, (True,) * dims),
            _pointwise(last, dims),
        ]


class Canonical(Form):
    """1 x 1, depthwise k x k, 1 x 1: canonical polyadic terms (Lebedev et al., 2015)."""

    name = "cp"
    ranks = "r"

    def terms(self, dims: int) -> tuple[str, ...]:
        return "cr", AXES[1 : dims + 1] + "r", "rn"

    def most(self, problem: Problem) -> Ranks:
        return (problem.channels * min(problem.taps, problem.outputs),)

    def start(self, problem: Problem) -> Starts:
        every = starts.rank_one_terms(problem, self.most(problem)[0])
        return lambda r: [every[0][:, : r[0]], every[1][..., : r[0]], every[2][: r[0]]]

    def links(self, factors: Sequence[np.ndarray]) -> list[Link]:
        first, taps, last = factors
        dims = taps.ndim - 1
        depthwise = np.moveaxis(taps, -1, 0)[:, None]
        return [
            _pointwise(first, dims),
            Link(depthwise, len(depthwise), (True,) * dims),
            _pointwise(last, dims),
        ]


class DepthwiseFirst(Form):
    """Depthwise k x k with several filters a channel, then 1 x 1 (Guo et al., 2018)."""

    name = "depthwise-first"
    ranks = "s"

    def terms(self, dims: int) -> tuple[str, ...]:
        return "cs" + AXES[1 : dims + 1], "csn"

    def most(self, problem: Problem) -> Ranks:
        return (problem.taps,)

    def start(self, problem: Problem) -> Starts:
        first, second = starts.per_channel(problem)
        return lambda r: [first[:, : r[0]], second[:, : r[0]]]

    def links(self, factors: Sequence[np.ndarray]) -> list[Link]:
        first, second = factors
        dims = first.ndim - 2
        channels, terms = first.shape[:2]
        weight = first.reshape(channels * terms, 1, *first.shape[2:])
        return [
            Link(weight, channels, (True,) * dims),
            _pointwise(second.reshape(channels * terms, -1), dims),
        ]


class PointwiseFirst(Form):
    """1 x 1 to several maps an output, then k x k over those of each output (Guo et al., 2018)."""

    name = "pointwise-first"
    ranks = "s"
    transposes = False

    def terms(self, dims: int) -> tuple[str, ...]:
        return "cns", "ns" + AXES[1 : dims + 1]

    def most(self, problem: Problem) -> Ranks:
        return (problem.taps,)

    def start(self, problem: Problem) -> Starts:
        first, second = starts.per_output(problem)
        return lambda r: [first[..., : r[0]], second[:, : r[0]]]

    def links(self, factors: Sequence[np.ndarray]) -> list[Link]:
        first, second = factors
        dims = second.ndim - 2
        flat = first.reshape(len(first), -1)
        return [_pointwise(flat, dims), Link(second, len(second), (True,) * dims)]


def _pointwise(matrix: np.ndarray, dims: int) -> Link:
    weight = matrix.T.reshape(matrix.shape[1], matrix.shape[0], *(1,) * dims)
    return Link(weight, 1, (False,) * dims)


def _seen_through(problem: Problem, inner: np.ndarray, core: np.ndarray) -> Problem:
    """Return the problem of a core behind a projection of the channels, solved for the core."""
    taps, rank = problem.taps, inner.shape[1]
    channels = problem.channels
    whole = problem.metric.reshape(channels, taps, channels * taps)
    half = np.tensordot(inner, whole, (0, 0)).reshape(rank * taps, channels, taps)
    metric = np.tensordot(half, inner, (1, 0)).transpose(0, 2, 1).reshape(rank * taps, -1)
    metric = (metric + metric.T) / 2
    wanted = half.reshape(rank * taps, -1) @ problem.matrix
    level = np.trace(metric) / len(metric)
    damped = metric + 1e-11 * level * np.eye(len(metric))
    solved = np.linalg.solve(damped, wanted).reshape(core.shape)
    return Problem(solved, metric, problem.scale)


FACTORS: tuple[Form, ...] = (
    OutputRank(),
    InputRank(),
    Spatial(0),
    Spatial(1),
    Tucker(),
    Canonical(),
)
SEPARATIONS: tuple[Form, ...] = (DepthwiseFirst(), PointwiseFirst())
