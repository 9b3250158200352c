"""The way forward and back for feeds of certain shapes; other shapes share what they can."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field

import numpy as np

from ocompress.analysis.gradients.concrete import Concrete, fixed_values
from ocompress.analysis.gradients.reverse import Backward, reverse
from ocompress.analysis.staged import Extents, Staged
from ocompress.io.dataset import Feeds
from ocompress.ir import Model, Value

_MOST_HELD = 8 << 20
"""Bytes of weights up to which a session that only tells shapes is kept for other feeds."""


@dataclass(frozen=True)
class Loaded:
    """A model in sessions that serve feeds of all shapes, by what they return.

    Attributes:
        forward: Those of the way forward.
        extents: Those that tell shapes.
    """

    forward: dict[Hashable, Staged] = field(default_factory=dict)
    extents: dict[Hashable, Extents] = field(default_factory=dict)


class Program:
    """A model and its derivative at the shapes of a feed.

    Attributes:
        missing: Why a name has no gradient, in one sentence each.
        reached: Names that have one, in the order they were asked for.
        seeded: Outputs that want a seed, or the floats that they are rounded from.
        held_bytes: Bytes of what is held between forward and backward, gradients included.
    """

    def __init__(
        self, model: Model, names: list[str], feeds: Feeds, loaded: Loaded | None = None
    ) -> None:
        """Measure shapes on a feed and build the backward model.

        Args:
            model: Typed by inference and sorted; not changed.
            names: Values whose gradients are wanted.
            feeds: Any feed of the shapes.
            loaded: What programs for other shapes have loaded; what is not there yet is put in.
        """
        self._model, self._loaded = model, loaded or Loaded()
        known = self._loaded.extents if model.loaded_bytes <= _MOST_HELD else None
        concrete = Concrete.measure(model, feeds, known=known)
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
        if key not in self._loaded.forward:
            self._loaded.forward[key] = Staged(self._model, extra_outputs=extra)
        return self._loaded.forward[key]


def _made(model: Model) -> list[Value]:
    return [v for n in model.graph.nodes for v in n.outputs if v is not None]


def _narrow(array: np.ndarray) -> np.ndarray:
    floating = array.dtype.kind == "f" or array.dtype.name == "bfloat16"
    return array.astype(np.float32, copy=False) if floating else array
