"""Constants that are equal become one."""

from __future__ import annotations

from collections import ChainMap, defaultdict
from collections.abc import MutableMapping

import numpy as np

from ocompress.ir import Facet, Graph, Model, Value
from ocompress.ir.text import digest
from ocompress.pipeline import Context, Outcome, Pass

_SAMPLE = 1024


class ShareInitializers(Pass):
    """Let the readers of equal constants read one of them.

    Before: Add(x, a); Add(y, b), with a and b of the same type, shape and bytes
    After:  Add(x, a); Add(y, a)
    Leaves alone: defaults of inputs, which callers may override; constants that are formal
    outputs; constants that only look equal (0.0 and -0.0, NaNs of different bits); statistics of a
    BatchNormalization in training, which ONNX Runtime writes to in place.
    Numerics: exact.
    """

    name = "share-initializers"
    internal = True
    may_change = Facet.TOPOLOGY | Facet.WEIGHTS
    reads = Facet.TOPOLOGY | Facet.WEIGHTS

    def run(self, model: Model, ctx: Context) -> Outcome:
        """Share in the main graph and between it and the bodies that see it."""
        doubles = _doubles(model)
        shared = _share_in(model.graph, doubles, {}) if doubles else 0
        return Outcome(self.may_change, {"constants shared": shared}) if shared else Outcome()


def _doubles(model: Model) -> dict[int, str]:
    """Return the digest of each constant that some other one may equal, by id of its value."""
    alike: dict[tuple[object, ...], list[Value]] = defaultdict(list)
    for graph in model.graph.graphs():
        for value in graph.initializers.values():
            if value.constant is not None and not _is_written(value):
                alike[_rough_key(value.constant)].append(value)
    digests: dict[int, str] = {}  # by id of array: clones share arrays
    found: dict[int, str] = {}
    for values in alike.values():
        if len(values) > 1:
            for value in values:
                array = value.data
                assert array is not None
                if id(array) not in digests:
                    digests[id(array)] = f"{array.dtype}{array.shape}{digest(array)}"
                found[id(value)] = digests[id(array)]
    return found


def _is_written(value: Value) -> bool:
    """Whether ONNX Runtime writes the running mean or variance of a training into a constant."""
    return any(
        node.is_op("BatchNormalization") and index > 2 and node.attr("training_mode", 0)
        for node, index in value.users
    )


def _rough_key(array: np.ndarray) -> tuple[object, ...]:
    head = digest(array.reshape(-1)[:_SAMPLE]) if array.size else ""
    return str(array.dtype), array.shape, head


def _share_in(graph: Graph, doubles: dict[int, str], outer: MutableMapping[str, Value]) -> int:
    visible = ChainMap({}, outer)
    shared = 0
    for value in list(graph.initializers.values()):
        key = doubles.get(id(value))
        if key is None:
            continue
        keeper = visible.setdefault(key, value)
        if keeper is value or value.is_output:
            continue
        for reader, index in value.users:
            reader.set_input(index, keeper)
        del graph.initializers[value.name]
        graph.names.release(value.name)
        shared += 1
    for node in graph.nodes:
        for body in node.subgraphs():
            shared += _share_in(body, doubles, visible)
    return shared
