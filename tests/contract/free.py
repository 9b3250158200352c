"""Nets from which one lossy pass can take something away, or store it smaller, for nothing."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from ocompress.archive.fastfood import spread
from ocompress.archive.tied_places import buckets_of, diagonals
from ocompress.ir import Model
from passes.storage.random_numbers import bells
from tests.build import Builder
from tests.passes.pruning.layouts import attention

Array = np.ndarray


def _dense(weight: Array) -> Model:
    """Make a layer of a weight [inputs, outputs] between two others."""
    b = Builder(5)
    inputs, outputs = weight.shape
    h = b.op("Relu", b.op("Gemm", b.input("x", ["n", 8]), b.weight(8, inputs), b.weight(inputs)))
    h = b.op("Tanh", b.op("Gemm", h, b.const(weight.astype(np.float32)), b.weight(outputs)))
    b.op("Gemm", h, b.weight(outputs, 3), b.weight(3), to="y")
    b.output("y", ["n", 3])
    return b.model()


def _conv(weight: Array) -> Model:
    """Make a convolution of a weight [outputs, inputs, 3, 3] between two others."""
    b = Builder(6)
    outputs, inputs = weight.shape[:2]
    h = b.op("Conv", b.input("x", ["n", 3, 6, 6]), b.weight(inputs, 3, 1, 1), b.weight(inputs))
    middle = b.const(weight.astype(np.float32))
    h = b.op("Conv", b.op("Relu", h), middle, b.weight(outputs), to="cut", pads=[1, 1, 1, 1])
    b.op("Conv", b.op("Tanh", h), b.weight(2, outputs, 1, 1), b.weight(2), to="y")
    b.output("y", ["n", 2, 6, 6])
    return b.model()


def _draw(*shape: int) -> Array:
    return np.random.default_rng(sum(shape)).standard_normal(shape)


def low_rank() -> Model:
    return _dense(_draw(32, 2) @ _draw(2, 24) / 6)


def block_diagonal() -> Model:
    weight = _draw(16, 16, 3, 3) / 12
    weight[:8, 8:] = 0
    weight[8:, :8] = 0
    return _conv(weight)


def two_trees() -> Model:
    """Make two layers at the end whose features and outputs are of two kinds."""
    rng = np.random.default_rng(9)
    sides = [rng.permutation(np.arange(n) % 2) for n in (16, 12, 6)]
    b = Builder(5)
    h = b.op("Relu", b.op("Gemm", b.input("x", ["n", 8]), b.weight(8, 16), b.weight(16)))
    for ins, outs in itertools.pairwise(sides):
        weight = _draw(len(ins), len(outs)) * (ins[:, None] == outs[None]) / 4
        h = b.op("Gemm", b.op("Tanh", h), b.const(weight.astype(np.float32)), b.weight(len(outs)))
    b.op("Identity", h, to="y")
    b.output("y", ["n", 6])
    return b.model()


def one_kernel_per_channel() -> Model:
    """Make a depthwise layer and a pointwise one that were multiplied out."""
    return _conv(np.einsum("oi,ikl->oikl", _draw(16, 16), _draw(16, 3, 3)) / 12)


def squeezed() -> Model:
    """Make a pointwise layer to four channels and two expansions that were multiplied out."""
    expand = _draw(16, 4, 3, 3)
    kept = expand[:8, :, 1, 1].copy()
    expand[:8] = 0
    expand[:8, :, 1, 1] = kept
    return _conv(np.einsum("oskl,si->oikl", expand, _draw(4, 16)) / 12)


def next_to_nothing() -> Model:
    """Make a layer half of whose weights are far below the rounding of what the others add."""
    weight = _draw(32, 24) / 6
    weight[np.abs(weight) < np.median(np.abs(weight))] *= 1e-7
    return _dense(weight)


def unread_channels() -> Model:
    """Make a layer half of whose outputs nobody weighs."""
    b = Builder(7)
    h = b.op("Relu", b.op("Gemm", b.input("x", ["n", 8]), b.weight(8, 32), b.weight(32)))
    weight = _draw(32, 3) / 4
    weight[::2] = 0
    b.op("Gemm", h, b.const(weight.astype(np.float32)), b.weight(3), to="y")
    b.output("y", ["n", 3])
    return b.model()


def twin_channels() -> Model:
    """Make a layer whose outputs come in pairs."""
    b = Builder(7)
    weight, bias = np.repeat(_draw(8, 16) / 3, 2, axis=1), np.repeat(_draw(16), 2)
    first = [b.const(a.astype(np.float32)) for a in (weight, bias)]
    h = b.op("Relu", b.op("Gemm", b.input("x", ["n", 8]), *first))
    b.op("Gemm", h, b.weight(32, 3), b.weight(3), to="y")
    b.output("y", ["n", 3])
    return b.model()


def idle_branch() -> Model:
    b = Builder(8)
    h = b.op("Relu", b.op("Gemm", b.input("x", ["n", 8]), b.weight(8, 16), b.weight(16)))
    for name, scale in (("busy", 0.25), ("idle", 0.0)):
        inner = b.op("Relu", b.op("Gemm", h, b.weight(16, 16), b.weight(16)))
        last = b.const((scale * _draw(16, 16)).astype(np.float32))
        h = b.op("Add", h, b.op("MatMul", inner, last), to=name)
    b.op("Gemm", h, b.weight(16, 3), b.weight(3), to="y")
    b.output("y", ["n", 3])
    return b.model()


def _on_the_grid(inputs: int, outputs: int) -> Array:
    """Return integers of 8 bits times a power of two, the largest in every column."""
    weight = np.random.default_rng(9).integers(-127, 128, (inputs, outputs))
    weight[0] = 127
    return weight / 1024


def nearly_sixteen_values() -> Model:
    """Make a layer of sixteen values, and noise in the last bits of them."""
    values = np.random.default_rng(9).choice(np.linspace(-1, 1, 16) ** 3, (64, 64)) / 4
    return _dense(values * (1 + 2e-7 * _draw(64, 64)))


def nearly_sixteen_slices() -> Model:
    """Make a convolution of sixteen slices of 16 bits, and noise in the last bits of them."""
    slices = (_draw(16, 3, 3) / 4).astype(np.float16).astype(np.float64)
    weight = slices[np.random.default_rng(9).integers(0, 16, (16, 16))]
    return _conv(weight * (1 + 2e-7 * _draw(16, 16, 3, 3)))


def integers() -> Model:
    return _dense(_on_the_grid(64, 64))


def signs() -> Model:
    """Make a layer whose weights differ from a number for each output and its signs by rounding."""
    return _dense(np.sign(_draw(40, 48)) * np.arange(8, 56) / 256 + 1e-7 * _draw(40, 48))


def nearly_circulant() -> Model:
    """Make a layer of blocks whose rows are those above moved on by one, but for rounding."""
    values = _draw(6, 8, 8).astype(np.float16)
    blocks = values.reshape(-1)[diagonals(48, 64, 8)].astype(np.float64) / 4
    return _dense(blocks + 1e-7 * _draw(48, 64))


def nearly_fastfood() -> Model:
    """Make a layer of diagonals and Walsh-Hadamard matrices, but for rounding."""
    sums = spread(np.random.default_rng(3).integers(-60, 61, (12, 16, 4)) / 256, 48, 64)
    sides = 1 + np.arange(48)[:, None] / 96, 1 + np.arange(64) % 8 / 16
    return _dense(sides[0] * sums * sides[1] + 1e-7 * _draw(48, 64))


def nearly_hashed() -> Model:
    """Make a layer of numbers that places share by their hash, but for rounding."""
    buckets, negated = buckets_of(48 * 64, 768)
    values = _draw(768).astype(np.float16).astype(np.float64) / 4
    weight = (values[buckets] * np.where(negated, -1, 1)).reshape(48, 64)
    return _dense(weight + 1e-7 * _draw(48, 64))


def nearly_random_words() -> Model:
    """Make a layer of words that are counted out, but for rounding."""
    words = bells(8 << 8).reshape(-1, 8)
    chosen = np.random.default_rng(3).integers(0, 256, (48, 8))
    return _dense(words[chosen].reshape(48, 64) / 64 + 1e-7 * _draw(48, 64))


FREE: dict[str, list[tuple[Callable[[], Model], dict[str, Any]]]] = {
    "equalize": [(unread_channels, {}), (block_diagonal, {})],
    "factorize": [(low_rank, {"rank": 2, "layers": ("gemm7",)})],
    "group": [(block_diagonal, {"max_macs": 0.7, "methods": ("blocks",)})],
    "separable": [(one_kernel_per_channel, {"rank": 1})],
    "split": [(two_trees, {"groups": 2})],
    "squeeze": [(squeezed, {"max_macs": 0.7, "layers": ("cut",)})],
    "prune": [(next_to_nothing, {"layers": {"gemm7": 0.5}})],
    "cluster": [(nearly_sixteen_values, {"bits": 4, "smallest": 4096})],
    "binarize": [(signs, {"planes": 1, "smallest": 1000})],
    "circulant": [(nearly_circulant, {"block": 8, "smallest": 1000})],
    "fastfood": [(nearly_fastfood, {"block": 4, "smallest": 1000})],
    "hash": [(nearly_hashed, {"ratio": 4, "smallest": 1000})],
    "random-code": [(nearly_random_words, {"bits": 8, "block": 8, "smallest": 1000})],
    "codebook": [(nearly_sixteen_slices, {"codewords": 16, "smallest": 2304})],
    "entropy": [(next_to_nothing, {"bits": 16})],
    "prune-channels": [
        (unread_channels, {"ratio": 0.5, "multiple": 1}),
        (twin_channels, {"ratio": 0.5, "multiple": 1}),
    ],
    "prune-heads": [(partial(attention, "batch"), {"ratio": 0.5})],
    "prune-layers": [(idle_branch, {"count": 1})],
    "quant-weights": [(integers, {"smallest": 4096})],
}
