"""Biases of integers, whose step is by convention that of the inputs times that of the weight.

Runtimes that compute in integers rely on it: they add a bias to products as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ocompress.ir import DType, Model, Node, Value, query

_BIASED = ("Conv", "ConvTranspose", "Gemm")
_LARGEST = (1 << 31) - 1


@dataclass(frozen=True)
class IntegerBias:
    """The constants of a layer on grids that has a bias of integers, by name.

    Attributes:
        integers: The bias.
        step: Its steps.
        of_inputs: Steps of the inputs.
        of_weight: Steps of the weight.
        is_free: Whether nobody else reads bias and steps.
    """

    integers: str
    step: str
    of_inputs: str
    of_weight: str
    is_free: bool


def integer_biases(model: Model) -> list[IntegerBias]:
    """Return the biases of integers of all layers whose inputs and weight are on grids."""
    found = [_bias(node) for node in model.graph.nodes if node.is_op(*_BIASED)]
    return [bias for bias in found if bias is not None]


def _bias(node: Node) -> IntegerBias | None:
    of_inputs, of_weight, own = (_grid(node.input(i)) for i in range(3))
    if of_inputs is None or of_weight is None or own is None:
        return None
    integers, step = own
    if integers is None or integers.constant is None or integers.dtype is not DType.INT32:
        return None
    is_free = integers.use_count == step.use_count == 1
    return IntegerBias(integers.name, step.name, of_inputs[1].name, of_weight[1].name, is_free)


def _grid(value: Value | None) -> tuple[Value | None, Value] | None:
    """Return what a DequantizeLinear reads: integers, and steps that are constant."""
    maker = query.made_by(value, "DequantizeLinear")
    step = None if maker is None else maker.input(1)
    if maker is None or step is None or step.constant is None:
        return None
    return maker.input(0), step


def rewritten(
    model: Model, biases: list[IntegerBias], new: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Return biases and their steps where other steps changed; what they stand for stays.

    Args:
        model: Has the present values.
        biases: Those that nobody else reads.
        new: New values by name.
    """
    found: dict[str, np.ndarray] = {}
    arrays = {v.name: v.data for v in model.graph.initializers.values()}
    for bias in biases:
        if bias.of_inputs not in new and bias.of_weight not in new:
            continue
        old, integers = arrays[bias.step], arrays[bias.integers]
        parts = [new.get(name, arrays[name]) for name in (bias.of_inputs, bias.of_weight)]
        assert old is not None
        assert integers is not None
        product = np.asarray(parts[0], np.float32).reshape(-1) * np.asarray(parts[1], np.float32)
        step = np.broadcast_to(product.reshape(-1) if old.ndim else product.reshape(()), old.shape)
        levels = np.rint(integers.astype(np.float64) * old / step)
        found[bias.step] = step.astype(np.float32)
        found[bias.integers] = np.clip(levels, -_LARGEST, _LARGEST).astype(np.int32)
    return found
