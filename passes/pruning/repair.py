"""Numbers that follow the channels: wanted shapes, sizes, bounds, amounts, counts of groups."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ocompress.analysis.channels import (
    Element,
    Repair,
    numbers,
    shape_elements,
    shuffle_at,
    slice_bounds,
)
from ocompress.analysis.padding import pad_amounts
from ocompress.ir import Node, Value, edit
from passes.pruning.removed_indices import Taken


def repair(wanted: Repair, taken: Taken) -> None:
    """Change the numbers of a node so that they fit what is left; call before shapes change.

    Args:
        wanted: One of the repairs that a group names for the node; all are made.
        taken: What goes.
    """
    if wanted.node.op_type == "Split":
        _split(wanted.node, taken, in_attribute=bool(wanted.attribute))
    else:
        _REPAIRS[wanted.node.op_type](wanted.node, taken)


def _group(node: Node, taken: Taken) -> None:
    gone = len(taken.read(node, 0, 1))
    node.set_attr("group", int(node.attr("group", 1)) - gone)


def _shape(value: Value | None) -> tuple[object, ...]:
    assert value is not None
    assert value.shape is not None
    return value.shape


def _reshape(node: Node, taken: Taken) -> None:
    shuffle = shuffle_at(node)
    if shuffle is None or shuffle.apart is not node:
        _target(node, taken)
        return
    gone = len(taken.of(shuffle.source, shuffle.axis)) // shuffle.groups
    _write(node, 1, {shuffle.axis + 1: -gone})
    for value, axis in ((node.output, shuffle.axis + 1), (shuffle.swap.output, shuffle.axis)):
        shape = [*(value.shape or ())]
        extent = shape[axis]
        shape[axis] = extent - gone if isinstance(extent, int) else extent
        value.set_type(value.dtype, tuple(shape))


def _target(node: Node, taken: Taken) -> None:
    """Change a wanted shape, which stands for the last axes of the output."""
    index = 0 if node.op_type == "ConstantOfShape" else 1
    rank = len(_shape(node.output))
    ahead = rank - len(shape_elements(node, index) or ())
    gone = {axis - ahead: -len(taken.of(node.output, axis)) for axis in range(ahead, rank)}
    _write(node, index, gone)


def _tile(node: Node, taken: Taken) -> None:
    grown = [a for a, extent in enumerate(_shape(node.inputs[0])) if extent == 1]
    _write(node, 1, {axis: -len(taken.of(node.output, axis)) for axis in grown})


def _resize(node: Node, taken: Taken) -> None:
    rank = len(_shape(node.output))
    axes = [int(a) % rank for a in node.attr("axes", None) or range(rank)]
    _write(node, 3, {at: -len(taken.of(node.output, axis)) for at, axis in enumerate(axes)})


def _write(node: Node, index: int, change: dict[int, int]) -> None:
    """Add to numbers of a wanted shape, in copies of the node's own; 0 and -1 stay."""
    change = {at: by for at, by in change.items() if by}
    elements = shape_elements(node, index) or []
    if not any(e is not None and at in change and e.number > 0 for at, e in enumerate(elements)):
        return
    _own_parts(node, index)
    for at, element in enumerate(shape_elements(node, index) or []):
        if element is not None and at in change and element.number > 0:
            _add(element, change[at])


def _own_parts(node: Node, index: int) -> None:
    """Give a node its own joined shape, for others may want the old one."""
    value = node.inputs[index]
    maker = None if value is None else value.producer
    if value is None or maker is None:
        return
    if value.use_count > 1:
        assert node.graph is not None
        twin = node.graph.add_op(
            "Concat", maker.inputs, name=f"{maker.label}_{node.label}", attrs={"axis": 0}
        )
        twin.output.set_type(value.dtype, value.shape)
        node.set_input(index, twin.output)
        maker = twin
    for at, part in enumerate(maker.inputs):
        if part is not None and part.producer is not None and part.producer.is_op("Concat"):
            _own_parts(maker, at)


def _add(element: Element, by: int) -> None:
    own = edit.own_weight(element.node, element.index)
    assert own.data is not None
    changed = own.data.copy()
    changed.reshape(-1)[element.position] += by
    edit.set_weight(own, changed)


def _set(node: Node, index: int, name: str, wanted: Sequence[int]) -> None:
    """Write numbers where the node has them, as a constant input or an attribute."""
    value = node.input(index)
    if value is None:
        node.set_attr(name, [int(n) for n in wanted])
        return
    own = edit.own_weight(node, index)
    assert own.data is not None
    edit.set_weight(own, np.asarray(wanted, own.data.dtype).reshape(own.data.shape))


def _split(node: Node, taken: Taken, *, in_attribute: bool) -> None:
    rank = len(_shape(node.inputs[0]))
    axis = int(node.attr("axis", 0)) % rank
    sizes = []
    for value in node.outputs:
        extent = _shape(value)[axis]
        assert isinstance(extent, int)
        sizes.append(extent - len(taken.of(value, axis)))
    if in_attribute or node.input(1) is not None:
        _set(node, 1, "split", sizes)
        return
    assert node.graph is not None
    node.set_attr("num_outputs", None)
    node.set_input(1, node.graph.constant(f"{node.label}_sizes", np.asarray(sizes, np.int64)))


def _slice(node: Node, taken: Taken) -> None:
    shape = node.inputs[0].shape if node.inputs[0] is not None else None
    assert shape is not None
    starts, ends = numbers(node, 1, "starts"), numbers(node, 2, "ends")
    assert starts is not None
    assert ends is not None
    for at, (axis, bound) in enumerate(slice_bounds(node, shape).items()):
        gone = taken.read(node, 0, axis)
        if bound is not None and gone.size:
            starts[at] = bound[0] - int((gone < bound[0]).sum())
            ends[at] = bound[1] - int((gone < bound[1]).sum())
    _set(node, 1, "starts", starts)
    _set(node, 2, "ends", ends)


def _pad(node: Node, taken: Taken) -> None:
    shape = _shape(node.inputs[0])
    found, amounts = pad_amounts(node), numbers(node, 1, "pads")
    assert found is not None
    assert amounts is not None
    half = len(amounts) // 2
    for at, (axis, (before, after)) in enumerate(found.items()):
        gone, extent = taken.of(node.output, axis), shape[axis]
        if gone.size and (before or after):
            assert isinstance(extent, int)
            amounts[at] -= int((gone < before).sum())
            amounts[half + at] -= int((gone >= before + extent).sum())
    _set(node, 1, "pads", amounts)


def _gather(node: Node, taken: Taken) -> None:
    shape = _shape(node.inputs[0])
    axis = int(node.attr("axis", 0)) % len(shape)
    extent, indices = shape[axis], node.inputs[1]
    gone = taken.read(node, 0, axis)
    if not gone.size:
        return
    assert isinstance(extent, int)
    assert indices is not None
    assert indices.constant is not None
    array = np.where(indices.constant < 0, indices.constant + extent, indices.constant)
    left = np.ones(extent, bool)
    left[gone] = False
    kept = array[left[array]] if array.ndim == 1 else array
    own = edit.own_weight(node, 1)
    edit.set_weight(own, (np.cumsum(left) - 1)[kept].astype(array.dtype))


_REPAIRS: dict[str, Callable[[Node, Taken], None]] = {
    "Conv": _group,
    "ConvTranspose": _group,
    "Reshape": _reshape,
    "Expand": _target,
    "ConstantOfShape": _target,
    "Tile": _tile,
    "Resize": _resize,
    "Slice": _slice,
    "Pad": _pad,
    "Gather": _gather,
}
