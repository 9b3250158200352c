"""Shapes of values when the inputs are fixed, by inference or by running the model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ocompress.analysis.staged import extents_in
from ocompress.errors import DataError, OcompressError
from ocompress.io import Feeds, synthetic_data
from ocompress.io.batch_axes import batch_axes
from ocompress.ir import Model, Node, Shape
from ocompress.ir.onnx_api import infer_types


def with_shapes(model: Model, shapes: Mapping[str, Sequence[int]]) -> Model:
    """Return a clone whose types follow from its inputs, fixed where `shapes` says.

    A batch that the model leaves free becomes 1.

    Raises:
        DataError: If a shape names no input or contradicts its rank.
    """
    clone, axes = model.clone(), batch_axes(model)
    inputs = {v.name: v for v in clone.graph.inputs}
    for name, shape in shapes.items():
        if name not in inputs:
            msg = f"shape {name!r}: the model has inputs {', '.join(inputs) or 'none'}"
            raise DataError(msg)
        if inputs[name].rank not in (None, len(shape)):
            text = ",".join(map(str, shape))
            msg = f"shape {name}:{text} has rank {len(shape)}, the model wants {inputs[name].rank}"
            raise DataError(msg)
    for name, value in inputs.items():
        if value.data is None and value.dtype is not None and value.shape is not None:
            one = _one_sample(value.shape, axes.get(name, 0))
            value.set_type(value.dtype, tuple(shapes.get(name, one)))
    for output in clone.graph.outputs:  # extents declared for other inputs would contradict
        if output.dtype is not None and output.producer is not None:
            output.set_type(None, None)
    infer_types(clone)
    return clone


def _one_sample(shape: Shape, axis: int | None) -> Shape:
    if axis is None or axis >= len(shape) or isinstance(shape[axis], int):
        return shape
    return (*shape[:axis], 1, *shape[axis + 1 :])


def observe_shapes(
    model: Model,
    nodes: Iterable[Node],
    shapes: Mapping[str, Sequence[int]],
    feeds: Feeds | None = None,
) -> dict[str, tuple[int, ...]]:
    """Run the model once and return the shapes around some nodes.

    Args:
        model: Typed by `with_shapes`; not changed.
        nodes: Only those of the main graph can be observed.
        shapes: Shapes of inputs by name.
        feeds: What to run it on; random numbers if there are none.

    Returns:
        Shapes by name of value; empty when the model does not run.
    """
    inner = (n for n in nodes if n.graph is model.graph)
    values = (v for n in inner for v in (*n.inputs, *n.outputs))
    wanted = dict.fromkeys(v.name for v in values if v is not None and v.data is None)
    try:
        if not feeds:
            feeds = next(iter(synthetic_data(model, 1, shapes=shapes)), {})
        return extents_in(model, wanted, feeds)
    except OcompressError:
        return {}
