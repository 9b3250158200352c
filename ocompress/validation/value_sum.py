"""Running sums over one value of a float model and of its quantized form."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from ocompress.analysis.pair_sums import PairSums
from ocompress.analysis.quantized import Quantization, QuantizedLayer, TensorGrid
from ocompress.analysis.windows import window_of
from ocompress.ir import Node, query
from ocompress.validation.numeric import NumericSum

_CHUNK = 1 << 22  # elements that are summed up at once, in double precision


@dataclass
class ValueSum:
    """What is kept of a value; memory does not grow with the data.

    Attributes:
        grid: The grid of the quantized model, None if the value is not rounded.
        rounds: Whether the candidate's values still have to be rounded to it.
        numeric: The numeric comparison.
        outside: Float values that would need a code that the grid does not have.
        saturated: Codes at the ends of the grid, an end that stands for 0.0 left out.
        pairs: Counters of the layers that read the codes, by node name.
    """

    grid: TensorGrid | None = None
    rounds: bool = False
    numeric: NumericSum = field(default_factory=NumericSum)
    outside: int = 0
    saturated: int = 0
    pairs: dict[str, PairSums] = field(default_factory=dict)

    def update(self, reference: np.ndarray, candidate: np.ndarray) -> None:
        """Take in what both models made of a batch, arrays of any shape."""
        if self.rounds and self.grid is not None:
            candidate = self.grid.rounded(candidate)
        for left, right in _chunks(reference, candidate):
            self.numeric.update(left, right, 0, len(left) if left.ndim else 1)
            if self.grid is not None:
                self._update_codes(self.grid, left, right)
        if self.grid is not None and self.pairs:
            codes = (self.grid.codes(candidate) - self.grid.ends[0]).astype(np.uint8)
            for counter in self.pairs.values():
                counter.update(codes)

    def _update_codes(self, grid: TensorGrid, reference: np.ndarray, candidate: np.ndarray) -> None:
        first, last = grid.ends
        wanted = grid.codes(reference)
        self.outside += int(np.count_nonzero((wanted < first) | (wanted > last)))
        codes = grid.codes(candidate)
        for end in (first, last):
            if end != grid.zero_point:
                self.saturated += int(np.count_nonzero(codes == end))


def pair_sums(layer: QuantizedLayer, found: Quantization) -> PairSums | None:
    """Return a counter of sums that would clip, None if the layer adds no u8*s8 pairs.

    Activations of int8 count too: the kernels shift them by 128.
    """
    node, restore = layer.node, layer.constants.get(1)
    weight = query.constant(restore, 0) if restore is not None else None
    if weight is None or weight.dtype != np.int8 or not layer.data or layer.data[0][0] != 0:
        return None
    seen = found.values.get(layer.data[0][1])
    if seen is None or seen.grid is None or np.iinfo(seen.grid.dtype).bits != 8:
        return None
    zero = seen.grid.zero_point - seen.grid.ends[0]
    if node.is_op("Conv") and node.attr("auto_pad", "NOTSET") in ("NOTSET", "VALID"):
        return _of_conv(node, weight, zero)
    if node.is_op("Gemm") and not node.attr("transA", 0):
        return PairSums(weight.T if node.attr("transB", 0) else weight, zero)
    if node.is_op("MatMul") and weight.ndim == 2:
        return PairSums(weight, zero)
    return None


def _of_conv(node: Node, weight: np.ndarray, zero: int) -> PairSums | None:
    groups = int(node.attr("group", 1))
    if groups > 1 and weight.shape[1] == 1:
        return None  # the kernels for depthwise convolutions add up in 32 bits
    given = {key: node.attr(key) for key in ("strides", "dilations", "pads")}
    return PairSums(weight, zero, window_of(weight.shape[2:], groups, **given))


def _chunks(left: np.ndarray, right: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    if left.shape != right.shape or left.ndim == 0 or left.size <= _CHUNK:
        yield left, right
        return
    step = max(1, _CHUNK * len(left) // left.size)
    for start in range(0, len(left), step):
        yield left[start : start + step], right[start : start + step]
