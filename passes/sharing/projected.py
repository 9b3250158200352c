"""Making the model of projected weights: layer after layer, each on what those before now make."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ocompress.analysis.linear_rows import Site
from ocompress.ir import Model, Node, edit
from ocompress.lossy import Plan
from ocompress.lossy.applying import jobs_behind
from ocompress.lossy.layer_weights import LayerWeight, weight_of
from ocompress.lossy.refit import Built, Job
from ocompress.pipeline import Context
from passes.sharing.fitting import fitting
from passes.sharing.layer_problem import LayerProblem
from passes.sharing.layers import WeightStack
from passes.sharing.quadratic import Quadratic
from passes.sharing.signed_inputs import SignedInputs, put_signs
from passes.sharing.walking import read_by, walk

_FEW = 0.5
"""Part of the weights up to which different values are a form that a fit would ruin."""


class Code(Protocol):
    """A form of a weight that says it in few bits."""

    @property
    def method(self) -> str:
        """What it is, in a word."""
        ...

    @property
    def setting(self) -> str:
        """How far it goes, for people."""
        ...

    def nbytes(self, layer: WeightStack) -> int:
        """Return about what a packed file holds of a layer."""
        ...

    def solve(self, problem: Quadratic, layer: WeightStack, *, quick: bool = False) -> np.ndarray:
        """Return the weight of this form that costs least, (groups, inputs, outputs).

        Args:
            problem: What errors cost; the best weight is not that of the layer.
            layer: The layer as it was.
            quick: Whether about what it costs is all that matters.
        """
        ...


@dataclass(frozen=True, eq=False)
class Projection:
    """Puts a weight into a form.

    Attributes:
        readers: Labels of the nodes that read it.
        index: Input of the first of them.
        code: The form.
        curvature: What errors of outputs cost.
        seen: Whether data tell what the layer reads.
        signs: What inputs are compared with where the layer is to read their signs.
    """

    readers: tuple[str, ...]
    index: int
    code: Code
    curvature: np.ndarray
    seen: bool
    signs: SignedInputs | None = None

    def apply(self, model: Model) -> bool:
        """Project the weight by itself."""
        weight = read_by(model, self)
        if weight is None:
            return False
        layer = WeightStack(weight)
        matrix = self.code.solve(layer.alone(), layer)
        edit.set_weight(weight.value, layer.array(matrix).astype(weight.array.dtype))
        return True


def build(model: Model, plan: Plan, ctx: Context | None) -> Built:
    """Return a model with weights projected, and the layers behind them fitted.

    Args:
        model: Not changed.
        plan: The projections.
        ctx: Has the data that layers are fitted to; None projects each weight by itself.
    """
    moves = {part: m.edit for part, m in plan.items() if isinstance(m.edit, Projection)}
    signs = {r: m.signs for m in moves.values() if m.signs is not None for r in m.readers}
    return walk(
        model,
        plan,
        Projection,
        ctx,
        _job,
        _alone,
        others=lambda clone: _behind(clone, moves),
        prepare=lambda clone: put_signs(clone, signs),
    )


def _alone(model: Model, move: Projection) -> bool | None:
    return move.apply(model) or None


def _behind(model: Model, moves: Mapping[str, Projection]) -> list[Job]:
    """Return the jobs that fit layers that keep their weights, unless those have a form as well."""
    readers = {reader for move in moves.values() for reader in move.readers}
    first = [n.label for n in model.graph.nodes if n.label in readers]
    found = []
    for job in jobs_behind(model, first[:1], readers):
        weight = weight_of(job.nodes[0])
        if weight is None or weight[0].data is None:
            continue
        array = weight[0].data
        if len(np.unique(array)) > _FEW * np.count_nonzero(array):
            found.append(job)
    return found


def _job(part: str, move: Projection, nodes: Sequence[Node], made: dict[str, bool]) -> Job:
    """Return the job that puts a layer into its form."""
    found = weight_of(nodes[0])
    assert found is not None
    weight = LayerWeight(*found, list(nodes))

    def solve(wanted: LayerProblem, site: Site) -> tuple[np.ndarray, bool]:
        layer = WeightStack(weight, site)
        problem = Quadratic(wanted.target, wanted.hessian, wanted.curvature)
        array = layer.array(move.code.solve(problem, layer)).astype(weight.array.dtype)
        return layer.matrix(array.astype(np.float64)), True

    return fitting(part, move, nodes, made, move.curvature, solve)
