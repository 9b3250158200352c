"""What one group of a layer computes, as a tensor to be taken apart, and what an error costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ocompress.lossy.fisher import MOST_OUTPUTS

_RIDGE = 1e-4
"""Part of the mean variance of the inputs that every direction has at least: what the samples at
hand do not tell apart may differ elsewhere, and full rank has to be exact."""


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

    def unflattened(self) -> Problem:
        """Return the problem with the inputs told apart as they were before they were flattened."""
        shape = (*self.grid, self.outputs)
        return Problem(self.tensor.reshape(shape), self.metric, self.scale)

    def apart(self) -> Problem:
        """Return the problem with every output on its own, for forms that cannot mix them."""
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

    def power(self) -> float:
        """Return what it costs to leave everything away."""
        return self.error(np.zeros_like(self.tensor))

    def marginal(self, axes: Sequence[int]) -> np.ndarray:
        """Return the metric of some input axes, traced over the others.

        Args:
            axes: Of (channels, *kernel), counted from 0, rising.

        Returns:
            (extent, extent) with the extent of the axes together.
        """
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
