"""Setting weights to zero, as moves."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ocompress.ir import Model, edit
from ocompress.lossy.applying import twins_of
from ocompress.lossy.engine import Plan, Proposal
from ocompress.lossy.layer_weights import LayerWeight
from ocompress.lossy.refit import Built, Job, refit
from ocompress.pipeline import Context
from ocompress.planning import Move
from passes.pruning import magnitude
from passes.pruning.costs import Costed

HALF, DEEPEST = 0.5, 0.96
"""Share of the weights that goes if nothing says how many, and the largest that is tried."""


@dataclass(frozen=True)
class Zero:
    """Sets elements of a weight to zero.

    Attributes:
        readers: Labels of the nodes that read the weight.
        index: Input of the first of them.
        shape: Extents of the weight.
        bits: Which elements, as `numpy.packbits` packs a bool array.
        curvature: What errors of the layer's outputs cost, for the fit of what is left, (groups,
            outputs, outputs) or (groups, outputs); None if that is not known.
    """

    readers: tuple[str, ...]
    index: int
    shape: tuple[int, ...]
    bits: bytes
    curvature: np.ndarray | None = None

    @property
    def mask(self) -> np.ndarray:
        """Which elements, bool of the weight's shape."""
        flat = np.unpackbits(np.frombuffer(self.bits, np.uint8), count=int(np.prod(self.shape)))
        return flat.astype(bool).reshape(self.shape)

    def apply(self, model: Model) -> bool:
        """Set the elements."""
        node = model.labelled(self.readers[0])
        value = node.input(self.index) if node is not None else None
        if value is None or value.data is None or value.data.shape != self.shape:
            return False
        array = value.data.copy()
        array[self.mask] = 0
        edit.set_weight(value, array)
        return True


class Zeros(Proposal):
    """Weights that may lose elements; each part is a weight."""

    least = 1 - DEEPEST
    finest = 0.02

    def __init__(
        self,
        weights: Sequence[LayerWeight],
        costed: Mapping[int, Costed],
        criterion: str,
        masks: Callable[[float], Iterator[np.ndarray]],
    ) -> None:
        """Name the parts.

        Args:
            weights: Those that may lose elements.
            costed: What elements of a weight cost, by id of its value.
            criterion: What the costs are.
            masks: Gives what becomes zero of each weight, for a share of zeros; that of a larger
                share holds that of a smaller one.
        """
        super().__init__({w.name: [n.label for n in w.nodes] for w in weights})
        self.weights, self.costed, self.criterion = weights, costed, criterion
        self._masks = masks

    def leaving(self, share: float) -> Plan:
        """Return the cheapest zeros that leave a share of the weights."""
        return self.making(1 - share)

    def making(self, share: float) -> Plan:
        """Return the cheapest zeros of a share of the weights."""
        found = {}
        for weight, mask in zip(self.weights, self._masks(share), strict=True):
            if np.count_nonzero(weight.array[mask]):
                found[weight.name] = self._move(weight, mask)
        return found

    def _move(self, weight: LayerWeight, mask: np.ndarray) -> Move:
        known = self.costed.get(id(weight.value))
        gone = mask & (weight.array != 0)
        if known is not None:
            error = float(known.costs[gone].sum(dtype=np.float64))
        else:
            lost = magnitude.energy(weight.array[gone])
            error = lost / (magnitude.energy(weight.array) or 1.0)
        reader = weight.nodes[0]
        index = next(at for at, v in enumerate(reader.inputs) if v is weight.value)
        curvature = None if known is None else known.curvature
        bits = np.packbits(mask).tobytes()
        readers = tuple(n.label for n in weight.nodes)
        zero = Zero(readers, index, weight.array.shape, bits, curvature)
        what = f"{np.count_nonzero(gone)} of {gone.size} weights zero"
        left = weight.value.file_bytes  # zeros take as many bytes as other numbers
        return Move(weight.name, "zero", what, error, left, 0.0, edit=zero)


def build(model: Model, plan: Plan, ctx: Context | None) -> Built:
    """Return the model with zeros, what is left of each weight fitted.

    Args:
        model: Not changed.
        plan: The zeros.
        ctx: Has the data that weights are fitted to; None fits none.
    """
    clone = model.clone()
    twins = twins_of(clone, model)
    zeros = {part: m.edit for part, m in plan.items() if isinstance(m.edit, Zero)}
    done = frozenset(part for part, zero in zeros.items() if zero.apply(clone))
    if ctx is None:
        return Built(clone, done=done)
    by_label = {n.label: n for n in clone.graph.nodes}
    jobs = [
        Job([by_label[r] for r in zero.readers], curvature=zero.curvature)
        for part, zero in zeros.items()
        if part in done and all(r in by_label for r in zero.readers)
    ]
    fits = refit(model, clone, twins, jobs, ctx)
    labels = {id(n): n.label for n in clone.graph.nodes}
    return Built(clone, {labels[key]: made for key, made in fits.items()}, done)
