"""When a node hands on its input, bit for bit: one rule per operator.

A rule returns the input that stands for the node's first output, or None.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ocompress.ir import Node, Shape, Value, query

Rule = Callable[[Node], Value | None]
_TO_THE_END = 2**31 - 1


def always(node: Node) -> Value | None:
    """Identity."""
    return node.input(0)


def dropout(node: Node) -> Value | None:
    """At inference, with nobody reading the mask."""
    if any(v is not None and v.use_count for v in node.outputs[1:]):
        return None
    training = node.input(2)
    if training is not None and (training.constant is None or np.any(training.constant)):
        return None
    return node.input(0)


def cast(node: Node) -> Value | None:
    """To the type it already has."""
    x, like = node.input(0), node.input(1)
    if x is None or x.dtype is None:
        return None
    to = node.attr("to") if node.is_op("Cast") else (like.dtype if like is not None else None)
    return x if to is not None and x.dtype == to else None


def alone(node: Node) -> Value | None:
    """One operand only."""
    return node.input(0) if len(node.inputs) == 1 else None


def transpose(node: Node) -> Value | None:
    """Every axis stays."""
    x, perm = node.input(0), node.attr("perm")
    if perm is None:
        return x if x is not None and x.rank is not None and x.rank < 2 else None
    return x if perm == list(range(len(perm))) else None


def pad(node: Node) -> Value | None:
    """By nothing."""
    pads = query.numbers(node, 1)
    return node.input(0) if pads is not None and not pads.any() else None


def slice_(node: Node) -> Value | None:
    """From the first to the last element, one by one."""
    x = node.input(0)
    starts, ends, steps = (query.numbers(node, i) for i in (1, 2, 4))
    if x is None or starts is None or ends is None or starts.any():
        return None
    if node.input(4) is not None and (steps is None or np.any(steps != 1)):
        return None
    if np.all(ends >= _TO_THE_END):
        return x
    axes = query.numbers(node, 3) if node.input(3) is not None else np.arange(len(ends))
    if axes is None or x.shape is None or len(axes) != len(ends):
        return None
    extents = [x.shape[int(axis)] for axis in axes]
    covered = (isinstance(n, int) and end >= n for n, end in zip(extents, ends, strict=True))
    return x if all(covered) else None


def reordering(node: Node) -> Value | None:
    """Reshape, Squeeze, Unsqueeze, Flatten: they keep all elements, so equal shapes suffice."""
    x, made = node.input(0), node.output
    if x is None or made.is_output:
        return x if x is not None and node.is_op("Reshape") and _reshapes_to_own(node) else None
    if same_extents(x.shape, made.shape) or _reshapes_to_own(node):
        return x
    return None


def same_extents(before: Shape | None, after: Shape | None) -> bool:
    """Whether two shapes of the same number of elements are equal; one extent may be unknown."""
    if before is None or after is None or len(before) != len(after):
        return False
    unknown = [i for i, (b, a) in enumerate(zip(before, after, strict=True)) if not _known(b, a)]
    pairs = [(b, a) for b, a in zip(before, after, strict=True) if _known(b, a)]
    if any(b != a for b, a in pairs):
        return False
    return not unknown or (len(unknown) == 1 and all(b != 0 for b, _ in pairs))


def _known(before: object, after: object) -> bool:
    return isinstance(before, int) and isinstance(after, int)


def _reshapes_to_own(node: Node) -> bool:
    """Whether the target of a Reshape spells the shape of its input."""
    x, target = node.input(0), query.numbers(node, 1)
    if not node.is_op("Reshape") or x is None:
        return False
    if _is_shape_of(node.input(1), x):
        return True
    if target is None or x.shape is None or len(target) != len(x.shape) or node.attr("allowzero"):
        return False
    pairs = list(zip(target.tolist(), x.shape, strict=True))
    open_ = [p for p in pairs if p[0] != 0 and p[0] != p[1]]
    return not open_ or (len(open_) == 1 and open_[0][0] == -1 and 0 not in x.shape)


def _is_shape_of(value: Value | None, x: Value) -> bool:
    shape = query.made_by(value, "Shape")
    return shape is not None and shape.input(0) is x and not shape.attributes


def expand(node: Node) -> Value | None:
    """To the shape it has, or to ones."""
    x, target = node.input(0), query.numbers(node, 1)
    if x is None:
        return None
    if target is not None and x.rank is not None and len(target) <= x.rank and np.all(target == 1):
        return x
    if _is_shape_of(node.input(1), x):
        return x
    made = node.output
    static = not made.is_output and query.is_static(x) and query.is_static(made)
    return x if static and x.shape == made.shape else None


def tile(node: Node) -> Value | None:
    """Once along every axis."""
    repeats = query.numbers(node, 1)
    return node.input(0) if repeats is not None and np.all(repeats == 1) else None


def neutral(left: float | None, right: float) -> Rule:
    """Make a rule for a constant operand that changes nothing.

    Args:
        left: What the first operand must be, None if none does.
        right: What the second operand must be; -0.0 means an integer 0 or a negative zero.
    """

    def rule(node: Node) -> Value | None:
        if node.attributes:  # broadcasting as opsets before 7 spelt it
            return None
        for index, wanted in ((1, right), (0, left)):
            x, array = node.input(1 - index), query.constant(node, index)
            if wanted is None or x is None or array is None or not _fits(array, x):
                continue
            if array.size and _is_all(array, wanted):
                return x
        return None

    return rule


def _is_all(array: np.ndarray, wanted: float) -> bool:
    if array.dtype.kind not in "biuf" or not np.all(array == array.dtype.type(wanted)):
        return False
    if wanted != 0 or array.dtype.kind in "biu":
        return True
    return bool(np.all(np.signbit(array) == np.signbit(wanted)))


def _fits(array: np.ndarray, x: Value) -> bool:
    """Whether broadcasting with `array` leaves the shape of `x` as it is."""
    if array.ndim == 0:
        return True
    if x.rank is None or x.shape is None or array.ndim > x.rank:
        return False
    tail = x.shape[x.rank - array.ndim :]
    return all(n in (1, extent) for n, extent in zip(array.shape, tail, strict=True))


def adds_positive_zero(node: Node) -> bool:
    """Whether the node adds a constant of floats that are all +0.0."""
    if not node.is_op("Add"):
        return False
    arrays = [query.constant(node, i) for i in (0, 1)]
    return any(
        a is not None and a.size > 0 and a.dtype.kind == "f" and not a.view(np.uint8).any()
        for a in (np.ascontiguousarray(a) for a in arrays if a is not None)
    )


STAND_INS: dict[str, Rule] = {
    "Identity": always,
    "Dropout": dropout,
    "Cast": cast,
    "CastLike": cast,
    "Concat": alone,
    "Max": alone,
    "Mean": alone,
    "Min": alone,
    "Sum": alone,
    "Transpose": transpose,
    "Pad": pad,
    "Slice": slice_,
    "Expand": expand,
    "Tile": tile,
    **dict.fromkeys(("Flatten", "Reshape", "Squeeze", "Unsqueeze"), reordering),
    "Add": neutral(-0.0, -0.0),
    "Sub": neutral(None, 0.0),
    "Mul": neutral(1.0, 1.0),
    "Div": neutral(None, 1.0),
    "And": neutral(True, True),
    "Or": neutral(False, False),
}
"""By operator of the standard domain."""
