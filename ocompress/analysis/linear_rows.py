"""Linear layers as products of rows and a matrix, whatever their operator.

Every element of a layer's output is a row of what the layer reads times a column of a matrix, so
what fits weights to data needs rows, outputs at the same places, and the weight as a matrix.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ocompress.analysis.linear_layer import Layer, Refusal, read
from ocompress.analysis.padding import explicit_pads
from ocompress.analysis.windows import Window, window_of
from ocompress.ir import Node, query

MOST_INPUTS = 4608
"""Inputs of an output beyond which products of all pairs take too much memory and time."""
_LEAST_ROWS, _ROWS_PER_INPUT = 4096, 8
"""Rows that sums of products are made from, at least, and for each input."""
_MORE = 8
"""Times as many rows make a better fit, though those of one sample resemble each other: a tenth
less is lost where VGG keeps half of the time of its channels. Still more tell nothing new."""
_CHEAP_NUMBERS, _CHEAP_WORK = 2**25, 2e10
"""Numbers that may be held, and multiplications made, for the sake of more rows than the least."""


@dataclass(frozen=True)
class Site:
    """Where a linear layer reads, and how its weight is a stack of matrices.

    Attributes:
        layer: The layer.
        groups: Groups; every one has a matrix of its own.
        inputs: Rows of a matrix: input channels of a group times taps.
        outputs: Columns of a matrix.
        window: How a Conv or ConvTranspose walks, None for products of matrices.
    """

    layer: Layer
    groups: int
    inputs: int
    outputs: int
    window: Window | None

    @property
    def node(self) -> Node:
        """The operator."""
        return self.layer.node

    @property
    def transposed(self) -> bool:
        """Whether it is a ConvTranspose."""
        return self.node.is_op("ConvTranspose")

    @property
    def least_rows(self) -> int:
        """Rows, of all samples together, that tell what the layer reads."""
        return max(_LEAST_ROWS, _ROWS_PER_INPUT * self.inputs)

    @property
    def fit_rows(self) -> int:
        """Rows, of all samples together, that the weight is fitted to: more where it is cheap."""
        numbers = self.groups * (self.inputs + self.outputs)
        cheap = min(_CHEAP_NUMBERS / numbers, _CHEAP_WORK / (numbers * self.inputs))
        return max(self.least_rows, min(_MORE * self.least_rows, int(cheap)))

    def matrix(self, weight: np.ndarray) -> np.ndarray:
        """Return a weight of the layer's shape as (groups, inputs, outputs)."""
        if self.window is None:
            form = self.layer.form
            return np.moveaxis(weight, (form.in_axis, form.out_axis), (0, 1))[None]
        if self.transposed:
            split = weight.reshape(self.groups, -1, *weight.shape[1:])
            return np.moveaxis(split, 2, -1).reshape(self.groups, self.inputs, self.outputs)
        return weight.reshape(self.groups, self.outputs, self.inputs).transpose(0, 2, 1)

    def weight(self, matrix: np.ndarray) -> np.ndarray:
        """Return what `matrix` made (groups, inputs, outputs) of, in the layer's shape."""
        shape = self.layer.form.shape
        if self.window is None:
            form = self.layer.form
            return np.ascontiguousarray(
                np.moveaxis(matrix[0], (0, 1), (form.in_axis, form.out_axis))
            )
        if self.transposed:
            split = matrix.reshape(self.groups, -1, *shape[2:], self.outputs)
            return np.ascontiguousarray(np.moveaxis(split, -1, 2).reshape(shape))
        return np.ascontiguousarray(matrix.transpose(0, 2, 1).reshape(shape))

    def places(self, data: np.ndarray, rows: float, rng: np.random.Generator) -> np.ndarray:
        """Choose places of every item at which the layer's outputs are looked at.

        Args:
            data: A batch of what the layer reads, in the shape in which it reads it.
            rows: How many rows this batch is to give.
            rng: Draws them.
        """
        area = self._area(data)
        return np.sort(rng.choice(area, min(area, self.count(data, rows)), replace=False))

    def count(self, batch: np.ndarray, rows: float) -> int:
        """Return at how many places of every item it takes a look for as many rows.

        Args:
            batch: What the layer reads, or what it makes, [items, ...].
            rows: How many rows this batch is to give.
        """
        items = max(1, len(batch)) if batch.ndim > 2 else 1
        return max(1, math.ceil(rows / items))

    def rows(self, data: np.ndarray, places: np.ndarray) -> np.ndarray:
        """Return what the layer reads at places, shape (items, places, groups, inputs)."""
        if self.window is None:
            flat = self._flat(data, self.layer.data_channel)[:, places, None]
            return flat * float(self.node.attr("alpha", 1.0))
        if self.transposed:
            seen = self.window.scattered(data, places, self._output_extents(data))
        else:
            seen = self.window.patches(data, places)
        return seen.reshape(*seen.shape[:2], self.groups, self.inputs)

    def results(self, output: np.ndarray, places: np.ndarray) -> np.ndarray:
        """Return the outputs at places, shape (items, places, groups, outputs)."""
        if self.window is None:
            return self._flat(output, self.layer.out_channel)[:, places, None]
        flat = output.reshape(*output.shape[:2], -1)[:, :, places]
        shape = (len(output), len(places), self.groups, self.outputs)
        return flat.transpose(0, 2, 1).reshape(shape)

    def powers(self, output: np.ndarray) -> np.ndarray:
        """Return the sum of squares over channels at every place, (items, places), float32."""
        if self.window is None:
            by_place = self._flat(output, self.layer.out_channel)
        else:
            by_place = output.reshape(*output.shape[:2], -1).swapaxes(1, 2)
        found: np.ndarray = np.einsum("npc,npc->np", by_place, by_place, dtype=np.float32)
        return found

    def corresponds(self, data: np.ndarray, output: np.ndarray) -> bool:
        """Whether an output has a row for every row of the data, of as many channels as are made.

        Two models need not agree on that: one may lack channels that are places here. Arrays of
        any other shape correspond to nothing.
        """
        if output.ndim != self.layer.out_rank or data.ndim != self.layer.data_rank:
            return False
        if output.shape[self.layer.out_channel] != self.groups * self.outputs:
            return False
        if data.size == 0 or output.size == 0:
            return data.size == output.size
        if self.window is None:
            rows = self._flat(data, self.layer.data_channel)
            return rows.shape[:2] == self._flat(output, self.layer.out_channel).shape[:2]
        return len(data) == len(output) and self._area(data) == self.result_places(output)

    def result_places(self, output: np.ndarray) -> int:
        """Return how many places each item of an output, in its own shape, has."""
        if self.window is None:
            return int(self._flat(output, self.layer.out_channel).shape[1])
        return int(np.prod(output.shape[2:]))

    def result_items(self, output: np.ndarray) -> int:
        """Return how many items an output has; they need not lie on its first axis."""
        if self.window is None:
            return len(self._flat(output, self.layer.out_channel))
        return len(output)

    def _area(self, data: np.ndarray) -> int:
        if self.window is None:
            return int(self._flat(data, self.layer.data_channel).shape[1])
        extents = self._output_extents(data) if self.transposed else self.window.extents(data.shape)
        return int(np.prod(extents))

    def _flat(self, array: np.ndarray, channel: int) -> np.ndarray:
        """Return (items, places, channels); rows of a matrix are items of one place each."""
        last = np.moveaxis(array, channel, -1)
        items = len(last) if last.ndim > 1 else 1
        return last.reshape(items, -1, last.shape[-1])

    def _output_extents(self, data: np.ndarray) -> tuple[int, ...]:
        """Return the spatial extents of a ConvTranspose's output."""
        assert self.window is not None
        extra = self.node.attr("output_padding") or [0] * len(self.window.kernel)
        return self.window.transposed_extents(data.shape, extra)


def site_of(node: Node) -> Site | Refusal | None:
    """See a node as a product of rows and a matrix; a refusal says why it cannot be.

    Returns:
        None if it is no linear layer.
    """
    layer = read(node) if not node.is_op("BatchNormalization") else None
    if not isinstance(layer, Layer):
        return layer
    form = layer.form
    if not node.is_op("Conv", "ConvTranspose"):
        if len(form.shape) > 2:
            return Refusal("batched-weight", "its weight is a stack of matrices")
        return Site(layer, 1, form.inputs, form.outputs, None)
    kernel = form.shape[2:]
    pads = explicit_pads(node, len(kernel)) if node.is_op("Conv") else _transposed_pads(node)
    if pads is None:
        return Refusal("auto-pad", "its padding depends on extents that are not known")
    window = window_of(
        kernel,
        form.groups,
        strides=node.attr("strides"),
        dilations=node.attr("dilations"),
        pads=pads,
    )
    taps = int(np.prod(kernel))
    inputs, outputs = form.inputs // form.groups * taps, form.outputs // form.groups
    return Site(layer, form.groups, inputs, outputs, window)


def _transposed_pads(node: Node) -> list[int] | None:
    auto = node.attr("auto_pad", "NOTSET")
    if auto not in ("NOTSET", "VALID") or node.attr("output_shape"):
        return None
    found: list[int] = [] if auto == "VALID" else list(node.attr("pads") or [])
    return found


def bias_place(site: Site) -> tuple[Node, int] | None:
    """Return the node and input index of the constant that is added per output channel.

    It is the layer's own bias, or an Add that nothing but the layer's output goes through; None if
    there is neither a bias nor a place for one.
    """
    layer = site.layer
    if layer.bias_at is not None:
        return (site.node, layer.bias_at) if layer.bias_refusal() is None else None
    reader = query.only_reader(site.node.output)
    if reader is None or not reader.is_op("Add") or layer.out_channel != layer.out_rank - 1:
        return None
    for index, value in enumerate(reader.inputs):
        constant = None if value is None else value.constant
        if constant is not None and constant.shape == (layer.form.outputs,):
            return reader, index
    return None
