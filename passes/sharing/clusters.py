"""Numbers of clusters, as moves, and models made of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ocompress.analysis.linear_rows import Site
from ocompress.ir import Model, Node, edit
from ocompress.lossy.engine import Plan
from ocompress.lossy.layer_weights import LayerWeight
from ocompress.lossy.refit import Job
from ocompress.pipeline import Context
from passes.sharing import clustering
from passes.sharing.fitting import fitting
from passes.sharing.layer_problem import LayerProblem
from passes.sharing.palettes import Palettes, find
from passes.sharing.pricing import flat, unflat
from passes.sharing.walking import Walked, read_by, walk


@dataclass(frozen=True, eq=False)
class ShareValues:
    """Lets weights share a few values.

    Attributes:
        readers: Labels of the nodes that read the weight.
        index: Input of the first of them.
        bits: Of the place of a value in its palette.
        start: How k-means starts.
        channels: Outputs that share a palette; 0 for all.
        curvature: What errors of outputs cost; None if data do not tell.
        table: The values, if other layers have them too; they stay as they are.
        seed: Draws.
    """

    readers: tuple[str, ...]
    index: int
    bits: int
    start: str
    channels: int
    curvature: np.ndarray | None
    table: np.ndarray | None = None
    seed: int = 0

    @property
    def seen(self) -> bool:
        """Whether data tell what the layer reads."""
        return self.curvature is not None

    def apply(self, model: Model) -> bool:
        """Give each weight the nearest value of a palette by k-means."""
        return share_alone(model, self) is not None

    def which(self, groups: int, outputs: int) -> np.ndarray:
        """Return the palette of each output, (groups, outputs)."""
        each = self.channels or groups * outputs
        return (np.arange(groups * outputs) // each).reshape(groups, outputs)

    def palettes(self, problem: LayerProblem) -> Palettes:
        """Return the palettes to start with."""
        which = self.which(problem.target.shape[0], problem.target.shape[2])
        if self.table is not None:
            return Palettes(self.table[None], which)
        return clustering.start(problem, which, 1 << self.bits, self.start, self.seed)


@dataclass(frozen=True)
class Shared:
    """What became of a weight.

    Attributes:
        values: Different values that it has.
        palettes: Its palettes.
        bits: Of a place in a palette.
        error: What the layer costs at the model's outputs, as far as that is known.
    """

    values: int
    palettes: int
    bits: int
    error: float | None = None


def build(model: Model, plan: Plan, ctx: Context | None) -> Walked[Shared]:
    """Return the model with shared weights.

    Args:
        model: Not changed.
        plan: The moves.
        ctx: Has the data that layers are fitted to; None goes by the weights alone.
    """
    return walk(model, plan, ShareValues, ctx, _job, share_alone)


def share_alone(model: Model, move: ShareValues) -> Shared | None:
    """Give each weight the nearest value of a palette by k-means.

    Args:
        model: Changed in place.
        move: The weight and its palette.

    Returns:
        What became of it; None if there is no such weight.
    """
    weight = read_by(model, move)
    if weight is None:
        return None
    array, count = nearest(weight, move)
    edit.set_weight(weight.value, array)
    return Shared(len(np.unique(array)), count, move.bits)


def nearest(
    weight: LayerWeight, move: ShareValues, costs: np.ndarray | None = None
) -> tuple[np.ndarray, int]:
    """Return a weight on palettes by k-means, each element on the nearest value.

    Args:
        weight: The weight.
        move: Says which palettes.
        costs: What squared errors of each element cost, of its shape; None if all cost alike.

    Returns:
        The weight in its own type, and the number of palettes.
    """
    matrix = flat(weight, weight.array.astype(np.float64))
    each = np.ones_like(matrix) if costs is None else flat(weight, costs.astype(np.float64))
    which = move.which(1, matrix.shape[2])
    tables = []
    for palette in range(int(which.max()) + 1):
        own = which[0] == palette
        values = matrix[:, :, own].reshape(-1)
        used = values != 0
        counted = values[used], each[:, :, own].reshape(-1)[used], 1 << move.bits, move.start
        zero = not used.all()
        tables.append(find(*counted, zero=zero, seed=move.seed) if used.any() else _zeros(move))
    if move.table is not None:
        tables = [move.table]
    palettes = Palettes(np.stack(tables), which).rounded(weight.array.dtype)
    made = palettes.values(palettes.nearest(matrix)) * (matrix != 0)
    return unflat(weight, made).astype(weight.array.dtype), len(tables)


def _zeros(move: ShareValues) -> np.ndarray:
    return np.zeros(1 << move.bits)


def _job(part: str, move: ShareValues, nodes: Sequence[Node], made: dict[str, Shared]) -> Job:
    """Return the job that fits a layer, and puts it on palettes."""
    assert move.curvature is not None

    def solve(problem: LayerProblem, site: Site) -> tuple[np.ndarray, Shared]:
        fixed = move.table is not None
        found = clustering.cluster(problem, move.palettes(problem), fixed=fixed)
        palettes = found.palettes.rounded(site.layer.weight.dtype)
        matrix = palettes.values(found.places)
        different = len(np.unique(matrix))
        return matrix, Shared(different, len(palettes.tables), move.bits, found.error)

    return fitting(part, move, nodes, made, move.curvature, solve)


def described(made: Shared) -> dict[str, Any]:
    """Return what the report says of a weight."""
    return {"values": made.values, "palettes": made.palettes, "index_bits": made.bits}
