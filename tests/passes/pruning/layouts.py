"""Nets in which the channels of one layer are places, or the batch, of another.

Each is a stem that makes channels, something that does not read them as channels, and a head that
does; half of the channels are read with a weight of zero, so taking them out loses nothing.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ocompress.ir import Model
from tests.build import Builder, InMemory

WIDE, LONG, SIDE = 16, 12, 4
HEADS, EACH = 8, 4
Middle = Callable[[Builder, str], str]


def ints(b: Builder, *numbers: int) -> str:
    return b.const(np.array(numbers, np.int64))


def kept(b: Builder) -> str:
    """Return a name for a layer whose own channels shall stay."""
    return f"kept{len(b.nodes)}"


def half(b: Builder, array: np.ndarray, channels: int) -> str:
    """Add a weight whose rows, along axis 0, of half of some channels are zero."""
    dead = b.rng.permutation(channels)[: channels // 2]
    array.reshape(channels, -1)[dead] = 0
    return b.const(array)


def head(b: Builder, h: str, channels: int = WIDE, outputs: int = 5) -> str:
    """Read channels that come last; only half of them."""
    weight = (b.rng.standard_normal((channels, outputs)) * channels**-0.5).astype("f")
    return b.op("Tanh", b.op("MatMul", h, half(b, weight, channels), to=kept(b)))


def over_time(b: Builder, h: str) -> str:
    """A Linear over time, as DLinear and TSMixer have it."""
    h = b.op("Add", b.op("MatMul", h, b.weight(LONG, LONG), to=kept(b)), b.weight(LONG))
    return b.op("Tanh", h)


def from_the_left(b: Builder, h: str) -> str:
    h = b.op("Transpose", h, perm=[0, 2, 1])
    h = b.op("Tanh", b.op("MatMul", b.weight(LONG, LONG), h, to=kept(b)))
    return b.op("Transpose", h, perm=[0, 2, 1])


def residual(b: Builder, h: str) -> str:
    return b.op("Add", h, b.op("MatMul", over_time(b, h), b.weight(LONG, LONG), to=kept(b)))


def gated(b: Builder, h: str) -> str:
    gate = b.op("Sigmoid", b.op("MatMul", h, b.weight(LONG, LONG), to=kept(b)))
    return b.op("Mul", over_time(b, h), gate)


def shared(b: Builder, h: str) -> str:
    """One Linear over time applied twice, what is added to the shortcut between."""
    weight = b.weight(LONG, LONG)
    h = b.op("Add", h, b.op("Tanh", b.op("MatMul", h, weight, to=kept(b))))
    return b.op("Add", b.op("MatMul", h, weight, to=kept(b)), h)


def normalized(b: Builder, h: str) -> str:
    h = b.op("LayerNormalization", h, b.positive(LONG), b.weight(LONG), axis=-1)
    return over_time(b, h)


def depthwise(b: Builder, h: str) -> str:
    kernel, bias = b.weight(WIDE, 1, 3), b.weight(WIDE)
    h = b.op("Conv", over_time(b, h), kernel, bias, group=WIDE, pads=[1, 1])
    return over_time(b, b.op("Relu", h))


def split(b: Builder, h: str) -> str:
    b.ops("Split", [h, ints(b, LONG // 2, LONG // 2)], [f"{h}_a", f"{h}_b"], axis=2)
    first = b.op("MatMul", f"{h}_a", b.weight(LONG // 2, LONG // 2), to=kept(b))
    return over_time(b, b.op("Concat", first, f"{h}_b", axis=2))


MIDDLES: dict[str, Middle] = {
    made.__name__: made
    for made in (
        *(over_time, from_the_left, residual, gated, shared, normalized, depthwise, split),
    )
}


def series(middle: str, *, channels_last: bool = False, flat: bool = False) -> Model:
    """Series of a few channels, [n, 3, time], that become many."""
    b = Builder(3)
    if channels_last:
        h = b.op("MatMul", b.input("x", ["n", LONG, 3]), b.weight(3, WIDE), to="wide")
        h = b.op("Transpose", b.op("Relu", b.op("Add", h, b.weight(WIDE))), perm=[0, 2, 1])
    else:
        x, kernel = b.input("x", ["n", 3, LONG]), b.weight(WIDE, 3, 5)
        h = b.op("Relu", b.op("Conv", x, kernel, b.weight(WIDE), pads=[2, 2], to="wide"))
    h = MIDDLES[middle](b, h)
    if flat:
        weight = (b.rng.standard_normal((WIDE * LONG, 5)) * 0.1).astype("f")
        h = b.op("Flatten", h)
        b.op("Gemm", h, half(b, weight, WIDE), b.weight(5), to="y")
        b.output("y", ["n", 5])
        return b.model()
    h = head(b, b.op("Transpose", h, perm=[0, 2, 1]))
    b.op("MatMul", h, b.weight(5, 4), to="y")
    b.output("y", ["n", LONG, 4])
    return b.model()


def pictures() -> Model:
    """ResMLP: patches of a picture are mixed by a Linear, behind a convolution."""
    b = Builder(4)
    x = b.input("x", ["n", 3, 2 * SIDE, 2 * SIDE])
    h = b.op("Conv", x, b.weight(WIDE, 3, 2, 2), b.weight(WIDE), strides=[2, 2], to="wide")
    flat = b.op("Reshape", h, ints(b, 0, WIDE, SIDE * SIDE))
    mixed = b.op("MatMul", flat, b.weight(SIDE * SIDE, SIDE * SIDE), to=kept(b))
    back = b.op("Reshape", b.op("Tanh", mixed), ints(b, 0, WIDE, SIDE, SIDE))
    h = b.op("Add", h, back)
    h = b.op("Conv", h, b.weight(WIDE, 1, 3, 3), b.weight(WIDE), group=WIDE, pads=[1] * 4)
    weight = b.rng.standard_normal((WIDE, 5, 1, 1)).astype("f")
    dead = b.rng.permutation(WIDE)[: WIDE // 2]
    weight[dead] = 0
    weight = np.ascontiguousarray(weight.swapaxes(0, 1))
    h = b.op("Tanh", b.op("Conv", b.op("Relu", h), b.const(weight), to=kept(b)))
    b.op("Conv", h, b.weight(4, 5, 1, 1), to="y")
    b.output("y", ["n", 4, SIDE, SIDE])
    return b.model()


def folded(kind: str, batch: int) -> Model:
    """Channels are folded into the batch of what comes next, as PatchTST does."""
    b = Builder(5)
    x = b.input("x", [batch, 3, LONG])
    h = b.op("Relu", b.op("Conv", x, b.weight(WIDE, 3, 5), b.weight(WIDE), pads=[2, 2], to="wide"))
    many = batch * WIDE
    if kind == "gemm":
        h = b.op("Reshape", h, ints(b, many, LONG))
        h = b.op("Tanh", b.op("Gemm", h, b.weight(LONG, LONG), b.weight(LONG), to=kept(b)))
    elif kind == "conv":
        h = b.op("Reshape", h, ints(b, many, 1, LONG))
        h = b.op("Conv", h, b.weight(6, 1, 3), b.weight(6), pads=[1, 1], to=kept(b))
        h = b.op("Conv", b.op("Tanh", h), b.weight(1, 6, 3), pads=[1, 1], to=kept(b))
    else:
        h = b.op("Reshape", h, ints(b, many, 3, LONG // 3))
        h = b.op("ConvTranspose", h, b.weight(3, 3, 3), b.weight(3), pads=[1, 1], to=kept(b))
    h = b.op("Transpose", b.op("Reshape", h, ints(b, batch, WIDE, LONG)), perm=[0, 2, 1])
    b.op("MatMul", head(b, h), b.weight(5, 4), to="y")
    b.output("y", [batch, LONG, 4])
    return b.model()


def attention(kind: str) -> Model:
    """Heads that a layer behind the projections sees as places or as its batch (MViT)."""
    b = Builder(6)
    tokens, width = SIDE * SIDE, HEADS * EACH
    x = b.input("x", [1, tokens, width])
    parts = {}
    for part in "qkv":
        h = b.op("MatMul", x, b.weight(width, width), to=f"{part}_made")
        h = b.op("Reshape", h, ints(b, 1, tokens, HEADS, EACH))
        parts[part] = b.op("Transpose", h, perm=[0, 2, 1, 3])
    if kind == "batch":
        kernel = b.weight(EACH, 1, 3, 3)
        for part in "kv":
            h = b.op("Reshape", parts[part], ints(b, HEADS, SIDE, SIDE, EACH))
            h = b.op("Transpose", h, perm=[0, 3, 1, 2])
            h = b.op("Conv", h, kernel, group=EACH, strides=[2, 2], pads=[1] * 4, to=f"{part}_pool")
            h = b.op("Reshape", h, ints(b, 1, HEADS, EACH, tokens // 4))
            parts[part] = b.op("Transpose", h, perm=[0, 1, 3, 2])
    else:
        h = b.op("MatMul", parts["v"], b.weight(EACH, EACH), to="v_mixed")
        parts["v"] = b.op("Tanh", b.op("Add", h, b.weight(EACH)))
    turned = b.op("Transpose", parts["k"], perm=[0, 1, 3, 2])
    scores = b.op("Softmax", b.op("MatMul", parts["q"], turned), axis=-1)
    h = b.op("Transpose", b.op("MatMul", scores, parts["v"]), perm=[0, 2, 1, 3])
    h = b.op("Reshape", h, ints(b, 1, tokens, width))
    weight = (b.rng.standard_normal((width, width)) * width**-0.5).astype("f")
    h = b.op("Add", x, b.op("MatMul", h, half(b, weight, HEADS), to="out"))
    b.op("MatMul", h, b.weight(width, 5), to="y")
    b.output("y", [1, tokens, 5])
    return b.model()


def branches(middle: str) -> Model:
    """A residual branch that adds nothing, before a layer over time."""
    b = Builder(7)
    x = b.input("x", ["n", 3, LONG])
    h = b.op("Conv", x, b.weight(WIDE, 3, 5), b.weight(WIDE), pads=[2, 2], to="wide")
    made = b.op("Tanh", b.op("Conv", h, b.weight(WIDE, WIDE, 3), pads=[1, 1]))
    nothing = b.const(np.zeros((WIDE, WIDE, 1), np.float32))
    h = b.op("Add", b.op("Conv", made, nothing), h, to="sum")
    h = MIDDLES[middle](b, b.op("Relu", h))
    b.op("Conv", h, b.weight(4, WIDE, 1), to="y")
    b.output("y", ["n", 4, LONG])
    return b.model()


def feeds(model: Model, seed: int, samples: int = 64) -> InMemory:
    """Draw samples for a net of one input, in batches as it wants them."""
    value = model.graph.inputs[0]
    assert value.shape is not None
    fixed, *extents = value.shape
    batch = fixed if isinstance(fixed, int) else 16
    rng = np.random.default_rng(seed)
    draws = rng.standard_normal((samples // batch, batch, *(int(e or 1) for e in extents)))
    return InMemory([{value.name: draw.astype(np.float32)} for draw in draws])
