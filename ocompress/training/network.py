"""A model that is computed in PyTorch, so that gradients by its initializers can be had."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import torch

from ocompress.io.dataset import Feeds
from ocompress.ir import Model
from ocompress.runtime import host_cores
from ocompress.training.dtypes import to_array, to_held, to_torch
from ocompress.training.parameters import blocked, candidates
from ocompress.training.program import TrainableProgram
from ocompress.training.typed import typed

_OF_PLANES = 4
_MOST_PROGRAMS = 8
"""Programs for so many shapes of feeds are kept."""


class Network:
    """A float model whose initializers can be trained.

    There is one parameter for every name, so what several nodes read stays the same for all. The
    graph itself never changes.

    Attributes:
        trained: Names of the initializers that can be trained.
        roles: What initializers are to the model.
        stuck: Weights that cannot, each with the label and operator of a node that has no gradient.
    """

    def __init__(
        self,
        model: Model,
        feeds: Feeds,
        names: Collection[str] | None = None,
        *,
        floating: torch.dtype = torch.float32,
        threads: int = 0,
    ) -> None:
        """Find out what can be trained.

        Args:
            model: A model after `canonicalize`; not changed.
            feeds: Any feed of it.
            names: Initializers to train, as far as they can be; all weights by default.
            floating: The type that floats are computed in, whatever the file's types are.
            threads: Threads of what ONNX Runtime runs; 0 takes all cores.

        Raises:
            RuntimeFailureError: If ONNX Runtime cannot run the model.
        """
        self._model = typed(model)
        self._floating, self._threads = floating, threads or host_cores()
        self._programs: OrderedDict[object, TrainableProgram] = OrderedDict()
        self.roles = candidates(self._model)
        self.trained = list(self.roles) if names is None else list(names)
        first = self._program(feeds)
        found = blocked(first.opaque, self.trained)
        self.stuck = {name: (node.label, node.op_type) for name, node in found.items()}
        if found:
            self.trained = [name for name in self.trained if name not in found]
            self._programs.clear()

    def initial(self) -> dict[str, torch.Tensor]:
        """Return the present value of every trained initializer."""
        values = self._model.graph.initializers
        found = {n: to_torch(np.array(values[n].data), self._floating) for n in self.trained}
        return {n: _as_read(t) for n, t in found.items()}

    def run(
        self, feeds: Mapping[str, np.ndarray | torch.Tensor], values: Mapping[str, torch.Tensor]
    ) -> dict[str, torch.Tensor]:
        """Compute the outputs.

        Args:
            feeds: An array or a tensor per input.
            values: A tensor per trained initializer.

        Returns:
            A tensor per output; what is no tensor (a text, a sequence) is there as it is.
        """
        given = {name: to_held(array, self._floating) for name, array in feeds.items()}
        return self._program(feeds).run({**given, **values})

    def _program(self, feeds: Mapping[str, Any]) -> TrainableProgram:
        key = tuple((name, np.shape(feeds[name])) for name in sorted(feeds))
        if key not in self._programs:
            arrays = {n: a if isinstance(a, np.ndarray) else to_array(a) for n, a in feeds.items()}
            made = TrainableProgram(
                self._model, arrays, self.trained, floating=self._floating, threads=self._threads
            )
            self._programs[key] = made
        self._programs.move_to_end(key)
        while len(self._programs) > _MOST_PROGRAMS:
            self._programs.popitem(last=False)
        return self._programs[key]


def _as_read(value: torch.Tensor) -> torch.Tensor:
    """Return a weight in the order that convolutions of planes read it in."""
    if value.dim() != _OF_PLANES:
        return value
    return value.contiguous(memory_format=torch.channels_last)
