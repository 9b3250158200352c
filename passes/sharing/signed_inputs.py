"""Layers that read signs: whether each input is above the mean of its channel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ocompress.analysis.linear_layer import Layer, read
from ocompress.analysis.linear_rows import Site
from ocompress.analysis.regression import Regression
from ocompress.ir import Model, Node, Value, edit

_LEAST = 1e-3
"""Deviation of an input that hardly varies, in proportion to the others."""
_KEEPS_SIGNS = ("Flatten", "Identity", "MaxPool", "Reshape", "Squeeze", "Transpose", "Unsqueeze")
"""Operators that could as well follow a Relu as precede it."""


@dataclass(frozen=True, eq=False)
class SignedInputs:
    """What the inputs of a layer are compared with.

    Attributes:
        mean: Of each channel, [channels].
        deviation: Of each channel, above zero, [channels].
    """

    mean: np.ndarray
    deviation: np.ndarray

    @classmethod
    def of(cls, site: Site, sums: Regression) -> SignedInputs:
        """Return them for a layer, by the rows that it reads.

        Args:
            site: The layer.
            sums: Of its rows.
        """
        taps = 1 if site.window is None else int(np.prod(site.window.kernel))
        mean, power = sums.x, np.einsum("gii->gi", sums.about_zero().xx)
        mean, power = (a.reshape(-1, taps).mean(axis=1) for a in (mean, power))
        deviation = np.sqrt((power - mean * mean).clip(0))
        varying = deviation[deviation > 0]
        least = _LEAST * float(np.median(varying)) if varying.size else 1.0
        return cls(mean, np.maximum(deviation, least))

    def put(self, node: Node) -> None:
        """Let a layer read signs: BatchNormalization, then Sign."""
        layer, graph = read(node), node.graph
        assert isinstance(layer, Layer)
        assert graph is not None
        kind = layer.weight.dtype
        numbers = {
            "scale": np.ones_like(self.mean),
            "shift": np.zeros_like(self.mean),
            "mean": self.mean,
            "variance": np.square(self.deviation),
        }
        constants = [
            graph.constant(f"{node.label}_{name}", array.astype(kind))
            for name, array in numbers.items()
        ]
        seen = _before_relu(layer.data)
        for op_type, more in (("BatchNormalization", constants), ("Sign", [])):
            made = graph.add_op(op_type, [seen, *more], name=f"{node.label}_{op_type.lower()}")
            made.output.set_type(layer.data.dtype, layer.data.shape)
            seen = made.output
        node.set_input(layer.data_at, seen)


def put_signs(model: Model, inputs: dict[str, SignedInputs]) -> None:
    """Let layers read signs.

    Args:
        model: Changed in place.
        inputs: What inputs are compared with, by label of the layer.
    """
    if not inputs:
        return
    for node in list(model.graph.nodes):
        if node.label in inputs:
            inputs[node.label].put(node)
    edit.remove_dead(model.graph)
    model.graph.sort()


def refusal_of(site: Site) -> str | None:
    """Say why a layer cannot read signs of normalized channels; None if it can."""
    if site.layer.data_channel != 1:
        return "its inputs have their channels on another axis than BatchNormalization"
    return None


def _before_relu(value: Value) -> Value:
    """Take the Relu before a value away.

    Whether a number is above a mean of numbers that are not negative is the same without it, and
    training sees how far below it is.
    """
    last, seen = None, value
    while seen.use_count == 1 and not seen.is_output and seen.producer is not None:
        node = seen.producer
        source = node.input(0)
        if source is not None and node.is_op("Relu"):
            if last is None:
                return source
            last.set_input(0, source)
        if source is None or not node.is_op(*_KEEPS_SIGNS):
            break
        last, seen = node, source
    return value
