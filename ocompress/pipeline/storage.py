"""Models whose weights are stored in fewer bits keep them so through lossy passes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np

from ocompress.ir import DType, Graph, Model, Node, Value, edit, packed

_NARROW = (DType.FLOAT16, DType.BFLOAT16)
_WEIGHTS_AT = {
    **dict.fromkeys(("Conv", "ConvTranspose"), (1,)),
    **dict.fromkeys(("Gemm", "MatMul"), (0, 1)),
    **dict.fromkeys(("GRU", "LSTM", "RNN"), (1, 2)),
    "Gather": (0,),
}
"""By operator, the inputs that may be weights."""
_SMALLEST = 128
"""Elements below which the nodes that widen a constant take what they save."""


def stored_as(model: Model) -> DType | None:
    """Return the 16-bit type in which a file holds most of a model's float32 weights.

    Returns:
        None if most of them are float32 in the file, too.
    """
    sizes = Counter[DType | None]()
    for _, value in _weights(model):
        leaf = None if value.packed is None else value.packed.largest.dtype
        if leaf is not None and not leaf.is_float:
            continue  # integers say nothing about the others
        sizes[leaf if leaf in _NARROW else None] += value.file_bytes
    return sizes.most_common(1)[0][0] if sizes else None


def keep_narrow(before: Model, after: Model) -> int:
    """Round the weights that a lossy pass made to the type in which they, or most, were stored.

    Otherwise what it changed would take twice the bytes.

    Args:
        before: What the pass was given.
        after: What it made of it; changed.

    Returns:
        How many weights were rounded.
    """
    most, own = stored_as(before), dict(_narrow(before))
    if most is None and not own:
        return 0
    known = {id(v.data) for g in before.graph.graphs() for v in g.initializers.values()}
    done = 0
    for graph, value in list(_weights(after)):
        array, dtype = value.constant, own.get(value.name, most)
        if array is None or dtype is None or value.packed is not None or id(array) in known:
            continue
        with np.errstate(all="ignore"):
            rounded = array.astype(dtype.numpy).astype(np.float32)
        if not np.isfinite(rounded).all():
            continue
        edit.set_weight(value, rounded)
        done += packed.cast(value, dtype, graph)
    return done


def keep_form(before: Model, after: Model) -> None:
    """Have files hold constants that got new numbers in the form of the old ones, where they can.

    Args:
        before: What a lossy pass was given.
        after: What it made of it; changed.
    """
    known = {
        value.name: value.packed.again
        for graph in before.graph.graphs()
        for value in graph.initializers.values()
        if value.packed is not None and value.packed.again is not None
    }
    for graph in after.graph.graphs() if known else ():
        for value in graph.initializers.values():
            again, array = known.get(value.name), value.constant
            if again is not None and array is not None and value.packed is None:
                value.set_packed(again(array))


def as_kept(before: Model, after: Model) -> Model:
    """Return what the manager makes of what a lossy pass made, for its guards to judge.

    Args:
        before: What the pass was given.
        after: What it made of it; not changed.

    Returns:
        `after` itself where nothing is held in fewer bits.
    """
    held = (v.packed for g in before.graph.graphs() for v in g.initializers.values())
    plain = stored_as(before) is None and not any(True for _ in _narrow(before))
    if plain and all(p is None or p.again is None for p in held):
        return after
    kept = after.clone()
    keep_form(before, kept)
    keep_narrow(before, kept)
    return kept


def _weights(model: Model) -> Iterator[tuple[Graph, Value]]:
    for graph in model.graph.graphs():
        for value in graph.initializers.values():
            array = value.constant
            large = array is not None and array.dtype == np.float32 and array.size >= _SMALLEST
            if large and any(_is_weight(node, at) for node, at in value.users):
                yield graph, value


def _narrow(model: Model) -> Iterator[tuple[str, DType]]:
    """Yield the weights that files hold in 16 bits, with their type."""
    for _, value in _weights(model):
        held = None if value.packed is None else value.packed.largest.dtype
        if held in _NARROW:
            yield value.name, held


def _is_weight(node: Node, at: int) -> bool:
    return not node.domain and at in _WEIGHTS_AT.get(node.op_type, ())
