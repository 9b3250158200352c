"""What the shapes of the inputs alone decide: the shape of every value, and many values too."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from ocompress.analysis.staged import Extents
from ocompress.io.dataset import Feeds
from ocompress.ir import Model, Node, Value, reads
from ocompress.ir.onnx_api import is_random

_SHAPE_OPS = ("Shape", "Size")
_OWN_LENGTHS = ("NonZero", "NonMaxSuppression", "Compress", "Unique")
"""Operators that make as many rows as the data say."""
_LENGTHS_FROM = {
    "CenterCropPad": (1,),
    "ConstantOfShape": (0,),
    "Expand": (1,),
    "OneHot": (1,),
    "Pad": (1,),
    "Range": (0, 1, 2),
    "Reshape": (1,),
    "Resize": (1, 2, 3),
    "Slice": (1, 2, 3, 4),
    "Split": (1,),
    "Tile": (1,),
    "TopK": (1,),
    "Upsample": (1,),
}
"""Inputs of operators that say how long their results are."""


@dataclass(frozen=True)
class Concrete:
    """A model at the shapes of one feed; everything is keyed by names of the main graph.

    Attributes:
        shapes: Shape of each tensor of the main graph.
        arrays: Arrays of the values that do not depend on what is fed, only on its shapes, as far
            as an operator that does depend on it reads them, or they are outputs.
    """

    shapes: Mapping[str, tuple[int, ...]]
    arrays: Mapping[str, np.ndarray]

    @classmethod
    def measure(
        cls,
        model: Model,
        feeds: Feeds,
        varying: Collection[str] = (),
        known: dict[Hashable, Extents] | None = None,
    ) -> Concrete:
        """Run the model once and keep shapes and what depends on nothing but them.

        Args:
            model: Typed by inference; not changed.
            feeds: Any feed of the shapes in question.
            varying: Initializers that are not constant, since they are trained.
            known: The model as it was loaded for feeds of other shapes; what is not there yet is
                put in.

        Raises:
            DataError: If the feed does not fit the model's inputs.
            RuntimeFailureError: If ONNX Runtime cannot run the model.
        """
        fixed = fixed_values(model, feeds, varying)
        values = dict.fromkeys(v.name for v in _tensors(model))
        wanted = [name for name in _at_the_border(model, fixed) if name in values]
        loaded, key = {} if known is None else known, (tuple(values), tuple(wanted))
        if key not in loaded:
            loaded[key] = Extents(model, values, wanted)
        shapes, arrays = loaded[key].of(feeds)
        shapes |= {name: tuple(array.shape) for name, array in feeds.items()}
        for name, data in _constants(model, feeds).items():
            shapes[name] = data.shape
            if name not in varying:
                arrays[name] = data
        return cls(shapes, arrays)


def fixed_values(model: Model, feeds: Feeds, varying: Collection[str] = ()) -> set[str]:
    """Return the values of the main graph that every feed of the same shapes leaves the same.

    Args:
        model: Sorted; not changed.
        feeds: Any feed of the shapes in question.
        varying: Initializers that are not constant, since they are trained.
    """
    fixed = set(_constants(model, feeds)).difference(varying)
    for node in model.graph.nodes:
        shaped = node.is_op(*_SHAPE_OPS)
        if shaped or (not is_random(node) and all(v.name in fixed for v in outer_reads(node))):
            fixed.update(v.name for v in node.outputs if v is not None)
    return fixed


def lengths_vary(model: Model, feeds: Feeds) -> bool:
    """Whether extents of values may depend on what is fed, as the number of boxes that are found.

    Args:
        model: Sorted; not changed.
        feeds: Any feed of the shapes in question.
    """
    return any(True for _ in _of_own_length(model, feeds))


def outputs_of_varying_length(model: Model, feeds: Feeds) -> list[str]:
    """Name the outputs whose extents may depend on what is fed and not on its shapes alone.

    Args:
        model: Sorted; not changed. An output with numbers for all extents is none of them.
        feeds: Any feed of the shapes in question.
    """
    varying = {v.name for node in _of_own_length(model, feeds) for v in node.outputs if v}
    for node in model.graph.nodes:
        if any(v.name in varying for v in outer_reads(node)) and not node.is_op(*_SHAPE_OPS):
            varying.update(v.name for v in node.outputs if v is not None)
    outputs = [v for v in model.graph.outputs if v.name in varying]
    return [v.name for v in outputs if not all(isinstance(e, int) for e in v.shape or (None,))]


def _of_own_length(model: Model, feeds: Feeds) -> Iterator[Node]:
    """Yield the nodes whose results have as many elements as the data say."""
    fixed = fixed_values(model, feeds)
    for node in model.graph.nodes:
        if all(v is None or v.name in fixed for v in node.outputs):
            continue
        if _has_own_length(node, fixed):
            yield node


def _has_own_length(node: Node, fixed: Collection[str]) -> bool:
    """Whether the results of a node, in a body maybe, have as many elements as the data say."""
    if not node.bodies:
        given = [node.input(index) for index in _LENGTHS_FROM.get(node.op_type, ())]
        told = any(v is not None and not _is_fixed(v, fixed) for v in given)
        return node.is_op(*_OWN_LENGTHS) or told
    if node.is_op("If"):
        asked = node.input(0)
        known = asked is not None and _is_fixed(asked, fixed)
    else:
        known = node.is_op("Scan") or (node.is_op("Loop") and _counts(node, fixed))
    inner = (n for body in node.subgraphs() for n in body.nodes)
    return not known or any(_has_own_length(n, fixed) for n in inner)


def _counts(loop: Node, fixed: Collection[str]) -> bool:
    """Whether a Loop goes round as often whatever is fed: no data end it."""
    trips, going, (body,) = loop.input(0), loop.input(1), loop.subgraphs()
    if trips is None or not _is_fixed(trips, fixed):
        return False
    goes_on: Value | None = body.outputs[0]
    while goes_on is not None and goes_on.producer is not None:
        goes_on = goes_on.producer.input(0) if goes_on.producer.is_op("Identity") else None
    stays = goes_on is body.inputs[1] or (goes_on is not None and goes_on.constant is not None)
    return stays and (going is None or _is_fixed(going, fixed))


def _is_fixed(value: Value, fixed: Collection[str]) -> bool:
    return value.constant is not None or value.name in fixed


def _constants(model: Model, feeds: Feeds) -> dict[str, np.ndarray]:
    found = {v.name: v.data for v in model.graph.initializers.values() if v.name not in feeds}
    return {name: data for name, data in found.items() if data is not None}


def outer_reads(node: Node) -> list[Value]:
    """Return what a node reads of the graph around it, bodies included."""
    inner: set[int] = set()
    for body in node.subgraphs():
        for graph in body.graphs():
            inner.update(id(v) for v in [*graph.inputs, *graph.initializers.values()])
            inner.update(id(v) for n in graph.nodes for v in n.outputs)
    return [v for v in reads(node) if id(v) not in inner]


def _tensors(model: Model) -> list[Value]:
    made = [v for n in model.graph.nodes for v in n.outputs if v is not None]
    return [v for v in made if v.dtype is not None and v.use_count > 0]


def _at_the_border(model: Model, fixed: set[str]) -> list[str]:
    """Name computed fixed values that a node with other inputs reads, and fixed outputs."""
    made = (v for v in model.graph.outputs if v.producer is not None)
    found = dict.fromkeys(v.name for v in made if v.name in fixed)
    for node in model.graph.nodes:
        if all(v is None or v.name in fixed for v in node.outputs):
            continue
        for value in node.inputs:
            if value is not None and value.producer is not None and value.name in fixed:
                found[value.name] = None
    return list(found)
