"""The two sessions for feeds of certain shapes: backward, and forward, which other shapes share."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ocompress.analysis.gradients.concrete import Concrete, fixed_values
from ocompress.analysis.gradients.reverse import Backward, reverse
from ocompress.analysis.staged import Staged
from ocompress.io.dataset import Feeds
from ocompress.ir import Model, Value


class Program:
    """A model and its derivative at the shapes of a feed.

    Attributes:
        missing: Why a name has no gradient, in one sentence each.
        reached: Names that have one, in the order they were asked for.
        seeded: Outputs that want a seed, or the floats that they are rounded from.
        held_bytes: Bytes of what is held between forward and backward, gradients included.
    """

    def __init__(
        self,
        model: Model,
        names: list[str],
        feeds: Feeds,
        forwards: dict[tuple[str, ...], Staged] | None = None,
    ) -> None:
        """Measure shapes on a feed and build the backward model.

        Args:
            model: Typed by inference and sorted; not changed.
            names: Values whose gradients are wanted.
            feeds: Any feed of the shapes.
            forwards: The model as other programs loaded it, by what it returns beside its outputs;
                what is not there yet is put in.
        """
        self._model, self._forwards = model, {} if forwards is None else forwards
        concrete = Concrete.measure(model, feeds)
        self._plan: Backward = reverse(model, names, concrete, fixed_values(model, feeds))
        self.missing = self._plan.missing
        self.reached = list(self._plan.gradients)
        self.seeded = list(self._plan.seeds)
        self._kept = dict.fromkeys([*self.reached, *self.seeded, *self._plan.taken])
        sizes = {n: int(np.prod(concrete.shapes[n], dtype=np.int64)) * 4 for n in self._kept}
        self.held_bytes = sum(sizes.values()) + sum(sizes[n] for n in self.reached)
        self._backward: Staged | None = None

    def forward(self, feeds: Feeds) -> dict[str, np.ndarray]:
        """Return the activations that the way back needs, the named values and the outputs."""
        first = self._forward()
        names = [n for n in self._kept if n not in feeds]
        made = first.run(feeds, names) if names else {}
        return made | {n: feeds[n] for n in self._kept if n in feeds}

    def backward(
        self, made: Mapping[str, np.ndarray], seeds: Mapping[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        """Return the gradient of each name in `reached`, float32.

        Args:
            made: What `forward` returned.
            seeds: Gradient at each of the outputs in `seeded`, in their shapes.
        """
        self._backward = self._backward or Staged(self._plan.model)
        feeds = {fed: _narrow(made[name]) for name, fed in self._plan.taken.items()}
        feeds |= {self._plan.seeds[name]: array for name, array in seeds.items()}
        found = self._backward.run(feeds)
        return {name: found[shown] for name, shown in self._plan.gradients.items()}

    def _forward(self) -> Staged:
        extra = [v for v in _made(self._model) if v.name in self._kept and not v.is_output]
        key = tuple(v.name for v in extra)
        if key not in self._forwards:
            self._forwards[key] = Staged(self._model, extra_outputs=extra)
        return self._forwards[key]


def _made(model: Model) -> list[Value]:
    return [v for n in model.graph.nodes for v in n.outputs if v is not None]


def _narrow(array: np.ndarray) -> np.ndarray:
    floating = array.dtype.kind == "f" or array.dtype.name == "bfloat16"
    return array.astype(np.float32, copy=False) if floating else array
