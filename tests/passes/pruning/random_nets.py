"""Nets put together at random from the structures that channels have to be followed through."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ocompress.ir import Model
from tests.build import Builder

SIDE = 4
Block = Callable[[Builder, str, int], tuple[str, int]]


def _ints(b: Builder, *numbers: int) -> str:
    return b.const(np.array(numbers, np.int64))


def conv(b: Builder, x: str, c: int) -> tuple[str, int]:
    wide = int(b.rng.choice([8, 12, 16]))
    h = b.op("Conv", x, b.weight(wide, c, 3, 3), b.weight(wide), pads=[1, 1, 1, 1])
    return b.op("Relu", b.batch_norm(h, wide)), wide


def residual(b: Builder, x: str, c: int) -> tuple[str, int]:
    h = b.op("Relu", b.op("Conv", x, b.weight(c + 4, c, 1, 1), b.weight(c + 4)))
    return b.op("Add", x, b.op("Conv", h, b.weight(c, c + 4, 1, 1))), c


def dense(b: Builder, x: str, c: int) -> tuple[str, int]:
    h = b.op("Conv", b.op("Sigmoid", x), b.weight(4, c, 1, 1), b.weight(4))
    return b.op("Concat", x, h, axis=1), c + 4


def split(b: Builder, x: str, c: int) -> tuple[str, int]:
    b.ops("Split", [x, _ints(b, 4, c - 4)], [f"{x}_a", f"{x}_b"], axis=1)
    h = b.op("Conv", f"{x}_a", b.weight(4, 4, 1, 1))
    return b.op("Concat", f"{x}_b", b.op("Tanh", h), axis=1), c


def grouped(b: Builder, x: str, c: int) -> tuple[str, int]:
    h = b.op("Conv", x, b.weight(12, c // 2, 3, 3), b.weight(12), group=2, pads=[1, 1, 1, 1])
    return b.op("PRelu", h, b.weight(12, 1, 1)), 12


def depthwise(b: Builder, x: str, c: int) -> tuple[str, int]:
    by = int(b.rng.integers(1, 3))
    h = b.op("Conv", x, b.weight(c * by, 1, 3, 3), b.weight(c * by), group=c, pads=[1, 1, 1, 1])
    return conv(b, b.op("Relu", h), c * by)


def transposed(b: Builder, x: str, c: int) -> tuple[str, int]:
    if c % 4 == 0 and b.rng.integers(2):
        h = b.op("ConvTranspose", x, b.weight(c, 4, 1, 1), b.weight(8), group=2)
        return b.op("Relu", h), 8
    h = b.op("ConvTranspose", x, b.weight(c, 8, 3, 3), b.weight(8), pads=[1, 1, 1, 1])
    return b.op("Relu", h), 8


def squeeze_excite(b: Builder, x: str, c: int) -> tuple[str, int]:
    h = b.op("ReduceMean", x, axes=[2, 3], keepdims=0)
    h = b.op("Relu", b.op("Gemm", h, b.weight(4, c), b.weight(4), transB=1))
    h = b.op("Sigmoid", b.op("Gemm", h, b.weight(4, c), b.weight(c)))
    return b.op("Mul", x, b.op("Reshape", h, _ints(b, 0, c, 1, 1))), c


def flat_and_back(b: Builder, x: str, c: int) -> tuple[str, int]:
    h = b.op("Reshape", x, _ints(b, -1, c, SIDE * SIDE))
    h = b.op("Transpose", h, perm=[0, 2, 1])
    h = b.op("Relu", b.op("Add", b.op("MatMul", h, b.weight(c, 8)), b.weight(8)))
    h = b.op("Transpose", h, perm=[0, 2, 1])
    return b.op("Reshape", h, _ints(b, 0, 8, SIDE, SIDE)), 8


def channels_last(b: Builder, x: str, c: int) -> tuple[str, int]:
    h = b.op("Mul", b.op("Transpose", x, perm=[0, 2, 3, 1]), b.weight(c))
    h = b.op("Concat", h, b.op("Neg", h), axis=3)
    return b.op("Transpose", h, perm=[0, 3, 1, 2]), 2 * c


def shuffle(b: Builder, x: str, c: int) -> tuple[str, int]:
    h = b.op("Reshape", x, _ints(b, 0, 4, c // 4, SIDE, SIDE))
    h = b.op("Transpose", h, perm=[0, 2, 1, 3, 4])
    h = b.op("Reshape", h, _ints(b, 0, c, SIDE, SIDE))
    return grouped(b, h, c) if b.rng.integers(2) else (h, c)


def picked(b: Builder, x: str, c: int) -> tuple[str, int]:
    h = b.op("Slice", x, _ints(b, 1), _ints(b, -2), _ints(b, 1))
    h = b.op("Add", x, b.op("Pad", h, _ints(b, 0, 1, 0, 0, 0, 2, 0, 0)))
    if b.rng.integers(2):
        h = b.op("Gather", h, b.const(b.rng.permutation(c)), axis=1)
    return h, c


def depth(b: Builder, x: str, c: int) -> tuple[str, int]:
    h = b.op("SpaceToDepth", x, blocksize=2)
    h = b.op("Conv", h, b.weight(16, 4 * c, 1, 1), b.weight(16))
    mode = str(b.rng.choice(["DCR", "CRD"]))
    return b.op("DepthToSpace", h, blocksize=2, mode=mode), 4


def tiled(b: Builder, x: str, c: int) -> tuple[str, int]:
    h = b.op("Tile", x, _ints(b, 1, 2, 1, 1))
    scale = b.op("Expand", b.weight(1, 1, 1), _ints(b, 2 * c, 1, 1))
    return b.op("Add", h, scale), 2 * c


def attention(b: Builder, x: str, c: int) -> tuple[str, int]:
    h = b.op("Reshape", x, _ints(b, 0, c, SIDE * SIDE))
    h = b.op("Transpose", h, perm=[0, 2, 1])
    q, k, v = (b.op("Add", b.op("MatMul", h, b.weight(c, 12)), b.weight(12)) for _ in range(3))
    heads = _ints(b, 0, 0, -1, 4)
    q, k, v = (b.op("Reshape", t, heads) for t in (q, k, v))
    q, v = (b.op("Transpose", t, perm=[0, 2, 1, 3]) for t in (q, v))
    weights = b.op("Softmax", b.op("MatMul", q, b.op("Transpose", k, perm=[0, 2, 3, 1])), axis=-1)
    h = b.op("Transpose", b.op("MatMul", weights, v), perm=[0, 2, 1, 3])
    h = b.op("MatMul", b.op("Reshape", h, _ints(b, 0, 0, 12)), b.weight(12, c))
    h = b.op("Transpose", h, perm=[0, 2, 1])
    return b.op("Add", x, b.op("Reshape", h, _ints(b, 0, c, SIDE, SIDE))), c


BLOCKS: dict[str, Block] = {
    block.__name__: block
    for block in (
        *(conv, residual, dense, split, grouped, depthwise, transposed, squeeze_excite),
        *(flat_and_back, channels_last, shuffle, picked, depth, tiled, attention),
    )
}


def net(blocks: list[str], seed: int, *, flat: bool) -> Model:
    """Make a net of blocks between a convolution and a classifier.

    Args:
        blocks: Names of blocks in order.
        seed: Seed of weights and of the choices that blocks make.
        flat: Whether the classifier reads every position, not the average of them.
    """
    b = Builder(seed)
    h, c = conv(b, b.input("x", ["n", 3, SIDE, SIDE]), 3)
    for name in blocks:
        h, c = BLOCKS[name](b, h, c)
    width = c * SIDE * SIDE if flat else c
    h = b.op("Flatten", h if flat else b.op("GlobalAveragePool", h))
    h = b.op("Tanh", b.op("Gemm", h, b.weight(10, width), b.weight(10), transB=1))
    b.op("MatMul", h, b.weight(10, 5), to="y")
    b.output("y", ["n", 5])
    return b.model()
