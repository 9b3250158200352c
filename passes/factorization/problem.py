"""What one group of a layer computes, as a tensor to be taken apart, and what an error costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from ocompress.lossy.fisher import MOST_OUTPUTS

PAIRWISE = ("greedy", 2.0**60)
"""How products of several arrays are ordered: two at a time. By default numpy makes no array larger
than those there are, and rather forms the whole product in one loop, which takes far longer."""

_RIDGE = 1e-4
"""Part of the mean variance of the inputs that every direction has at least: what the samples at
hand do not tell apart may differ elsewhere, and full rank has to be exact."""
AXES = "cuvwxyz"
"""Letters of the input axes of a tensor: channels, then the spatial ones."""


@dataclass(frozen=True)
class Problem:
    """Weights to be approximated where inputs and outputs count most.

    The cost of an approximation is tr(S^T D^T M D S): D is the difference, M the second moments of
    the inputs, and S S^T what errors of pairs of outputs cost at the model's outputs.

    Attributes:
        tensor: (channels, *kernel, outputs), its columns multiplied by S.
        metric: M, (inputs, inputs) with inputs = channels times taps; None for the identity, which
            it is without data.
        scale: S, (outputs, outputs); (outputs,) if there are too many outputs to look at pairs.
        grid: Channels and spatial extents that were flattened into the inputs, if they were.
    """

    tensor: np.ndarray
    metric: np.ndarray | None
    scale: np.ndarray
    grid: tuple[int, ...] = ()
    _made: dict[str, np.ndarray] = field(default_factory=dict, init=False, repr=False)

    @property
    def channels(self) -> int:
        """Input channels."""
        return int(self.tensor.shape[0])

    @property
    def kernel(self) -> tuple[int, ...]:
        """Taps along each spatial axis; empty for products of matrices."""
        return tuple(self.tensor.shape[1:-1])

    @property
    def taps(self) -> int:
        """Taps of the kernel."""
        return int(np.prod(self.kernel))

    @property
    def outputs(self) -> int:
        """Output channels."""
        return int(self.tensor.shape[-1])

    @property
    def matrix(self) -> np.ndarray:
        """The tensor as (inputs, outputs)."""
        return self.tensor.reshape(-1, self.outputs)

    @property
    def each(self) -> np.ndarray:
        """What an error of each output costs by itself, (outputs,)."""
        squares = np.square(self.scale)
        found: np.ndarray = squares if squares.ndim == 1 else squares.sum(axis=1)
        return found

    @property
    def curvature(self) -> np.ndarray:
        """What errors of outputs cost: S S^T, or its diagonal where S is one."""
        found: np.ndarray = self.each if self.scale.ndim == 1 else self.scale @ self.scale.T
        return found

    def scaled(self, array: np.ndarray) -> np.ndarray:
        """Multiply the last axis of an array [..., outputs] by S."""
        found: np.ndarray = array * self.scale if self.scale.ndim == 1 else array @ self.scale
        return found

    def plain(self, array: np.ndarray) -> np.ndarray:
        """Undo the scaling of the last axis of an array [..., outputs]."""
        if self.scale.ndim == 1:
            divided: np.ndarray = array / self.scale
            return divided
        found: np.ndarray = (array.reshape(-1, self.outputs) @ self._unscale).reshape(array.shape)
        return found

    @cached_property
    def _unscale(self) -> np.ndarray:
        found: np.ndarray = np.linalg.inv(self.scale)
        return found

    @cached_property
    def unflattened(self) -> Problem:
        """The problem with the inputs told apart as they were before they were flattened."""
        shape = (*self.grid, self.outputs)
        return Problem(self.tensor.reshape(shape), self.metric, self.scale)

    @cached_property
    def apart(self) -> Problem:
        """The problem with every output on its own, for forms that cannot mix them."""
        alone = np.sqrt(self.each)
        return Problem(self.plain(self.tensor) * alone, self.metric, alone)

    def weighed(self, matrix: np.ndarray) -> np.ndarray:
        """Return M times a matrix (inputs, outputs)."""
        return matrix if self.metric is None else self.metric @ matrix

    def whole(self) -> np.ndarray:
        """Return M as an array, (inputs, inputs)."""
        return np.eye(len(self.matrix)) if self.metric is None else self.metric

    def error(self, approximation: np.ndarray) -> float:
        """Return what an approximation of the tensor costs.

        Args:
            approximation: Of the tensor's shape.
        """
        off = self.matrix - approximation.reshape(self.matrix.shape)
        return max(0.0, float((off * self.weighed(off)).sum()))

    @cached_property
    def drawn(self) -> np.ndarray:
        """M times the tensor, (inputs, outputs)."""
        return self.weighed(self.matrix)

    @cached_property
    def _power(self) -> float:
        return max(0.0, float((self.matrix * self.drawn).sum()))

    def power(self) -> float:
        """Return what it costs to leave everything away."""
        return self._power

    @cached_property
    def single(self) -> Problem:
        """The problem in single precision, weights and metric divided by `sizes`.

        It is twice as fast, and what is left of an error is far above its rounding; squares of
        large weights and inputs would not fit in it, so both are brought to about 1.
        """
        weight, metric = self.sizes
        divided = None if self.metric is None else (self.metric / metric).astype(np.float32)
        return Problem((self.tensor / weight).astype(np.float32), divided, self.scale)

    @cached_property
    def sizes(self) -> tuple[float, float]:
        """About the largest weight, and the largest product of inputs."""
        return power_of_two(self.tensor), 1.0 if self.metric is None else power_of_two(self.metric)

    def turned(self, array: np.ndarray, inputs: str) -> np.ndarray:
        """Return an array (inputs, anything) with input axes in another order, (*axes, anything).

        Args:
            array: The array.
            inputs: Letters of the axes, all of them.
        """
        split = array.reshape(*self.tensor.shape[:-1], -1)
        return split.transpose([*(AXES.index(x) for x in inputs), len(inputs)])

    def metric_by(self, inputs: str) -> np.ndarray:
        """Return M with input axes in another order, (inputs, inputs); made once.

        Args:
            inputs: Letters of the axes, all of them.
        """
        assert self.metric is not None
        if inputs == AXES[: len(inputs)]:
            return self.metric
        if inputs not in self._made:
            rows = self.turned(self.metric, inputs).reshape(self.metric.shape)
            both = self.turned(np.ascontiguousarray(rows.T), inputs).reshape(rows.shape)
            self._made[inputs] = np.ascontiguousarray(both)
        return self._made[inputs]

    def metric_of_pairs(self, own: str, rest: str) -> np.ndarray:
        """Return M as (own inputs, own inputs times pairs of other inputs); made once.

        The second of a pair belongs to the rows.

        Args:
            own: Letters of some axes.
            rest: Letters of the others.
        """
        assert self.metric is not None
        key = f"{own}|{rest}"
        if key not in self._made:
            shape = self.tensor.shape[:-1]
            size = int(np.prod([shape[AXES.index(x)] for x in own]))
            split = self.metric.reshape(*shape, *shape)
            mine, others = ([AXES.index(x) for x in part] for part in (own, rest))
            columns = [len(shape) + at for at in (*mine, *others)]
            self._made[key] = split.transpose(*mine, *columns, *others).reshape(size, -1)
        return self._made[key]

    def marginal(self, axes: Sequence[int]) -> np.ndarray:
        """Return the metric of some input axes, traced over the others; made once.

        Args:
            axes: Of (channels, *kernel), counted from 0, rising.

        Returns:
            (extent, extent) with the extent of the axes together.
        """
        key = f"marginal {list(axes)}"
        if key not in self._made:
            self._made[key] = self._marginal(axes)
        return self._made[key]

    def _marginal(self, axes: Sequence[int]) -> np.ndarray:
        shape = self.tensor.shape[:-1]
        size = int(np.prod([shape[a] for a in axes]))
        if self.metric is None:
            return np.eye(size) * (len(self.matrix) / size)
        rows = list(range(len(shape)))
        columns = [r + len(shape) if r in axes else r for r in rows]
        kept = [*axes, *(columns[a] for a in axes)]
        whole = self.metric.reshape(*shape, *shape)
        found: np.ndarray = np.einsum(whole, [*rows, *columns], kept)
        return found.reshape(size, size)

    def inverse(self, axes: Sequence[int], ridge: float) -> np.ndarray:
        """Return the inverse of `marginal`, in the type of the metric; made once.

        Args:
            axes: See `marginal`.
            ridge: Part of the mean variance that is added to each.
        """
        key = f"{list(axes)} {ridge}"
        if key not in self._made:
            marginal = self.marginal(axes).astype(np.float64)
            level = ridge * np.trace(marginal) / len(marginal)
            found = np.linalg.inv(marginal + level * np.eye(len(marginal)))
            self._made[key] = found.astype(self.tensor.dtype)
        return self._made[key]


def power_of_two(array: np.ndarray) -> float:
    """Return about the largest magnitude, as a power of two: to divide by it rounds nothing."""
    largest = float(np.abs(array).max(initial=0.0))
    return float(2.0 ** np.floor(np.log2(largest))) if 0 < largest < np.inf else 1.0


def pose(
    tensor: np.ndarray,
    metric: np.ndarray | None = None,
    curvature: np.ndarray | None = None,
    grid: tuple[int, ...] = (),
) -> Problem:
    """Pose the problem of one group of a layer.

    Args:
        tensor: (channels, *kernel, outputs).
        metric: (inputs, inputs), about the mean where a bias makes up for it; None without data.
        curvature: What errors of outputs cost, (outputs, outputs) in pairs or (outputs,); None if
            all count alike.
        grid: What was flattened into the inputs.
    """
    inputs = int(np.prod(tensor.shape[:-1]))
    if metric is not None:
        level = max(float(np.trace(metric)) / inputs, 1e-12)
        metric = metric + _RIDGE * level * np.eye(inputs)
    outputs = tensor.shape[-1]
    if curvature is None:
        curvature = np.ones(outputs)
    level = max(float((curvature if curvature.ndim == 1 else np.diag(curvature)).mean()), 1e-30)
    if outputs > MOST_OUTPUTS:
        each = curvature if curvature.ndim == 1 else np.diag(curvature)
        scale = np.sqrt(each + 1e-6 * level)
        return Problem(tensor * scale, metric, scale, grid)
    if curvature.ndim == 1:
        each = np.sqrt(curvature + 1e-6 * level)
        return Problem(tensor * each, metric, np.diag(each), grid)
    scale = np.linalg.cholesky(curvature + 1e-6 * level * np.eye(outputs))
    return Problem(tensor @ scale, metric, scale, grid)
