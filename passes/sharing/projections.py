"""Weights that share numbers by a rule: blocks that are circulant, and hashes of places."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ocompress.archive.tied_places import buckets_of, diagonals, near
from ocompress.lossy.engine import Reason
from ocompress.pipeline import option
from passes.sharing.layers import WeightStack
from passes.sharing.planes import short
from passes.sharing.projected import Code
from passes.sharing.projecting import ProjectingPass
from passes.sharing.quadratic import FINE, Quadratic, Share, fitted, weight_of

_BLOCKS = (2, 4, 8, 16)
_RATIOS = (2, 4, 8, 16)
_DEFAULT = 4
_NUMBER_BYTES = 2


def project(problem: Quadratic, index: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """Return the weight that costs least of those whose elements share numbers.

    Args:
        problem: The layer.
        index: The number of each weight, (groups, inputs, outputs).
        factor: What it is multiplied by.

    Returns:
        (groups, inputs, outputs); numbers are rounded to what float16 has.
    """
    share, size = Share(index, factor), int(index.max()) + 1
    weights = problem.weights()
    seen = np.bincount(index.reshape(-1), weights.reshape(-1), size)
    total = np.bincount(index.reshape(-1), (weights * factor * problem.target).reshape(-1), size)
    means = total / np.maximum(seen, 1e-300)
    numbers = fitted(problem, [share], means, FINE)
    best = min((means, numbers), key=lambda n: problem.cost(weight_of(n, [share])))
    return weight_of(short(best), [share])


@dataclass(frozen=True)
class CirculantBlocks:
    """Blocks of so many rows in which each is the one above, moved on by one."""

    size: int
    method: str = "circulant"

    @property
    def setting(self) -> str:
        """How far it goes."""
        return f"blocks of {self.size}"

    def nbytes(self, layer: WeightStack) -> int:
        """Return what the first rows of blocks take."""
        array = layer.weight.array
        blocks = -(-len(array) // self.size) * -(-array[0].size // self.size)
        return int(blocks * self.size * _NUMBER_BYTES)

    def solve(self, problem: Quadratic, layer: WeightStack, *, quick: bool = False) -> np.ndarray:
        """Return the weight that costs least."""
        array = layer.weight.array
        index = diagonals(len(array), array[0].size, self.size).reshape(array.shape)
        placed = layer.matrix(index)
        return project(problem, placed, np.ones(placed.shape))


@dataclass(frozen=True)
class HashedPlaces:
    """A number for so many places on average, of either sign."""

    ratio: float
    method: str = "hashed"

    @property
    def setting(self) -> str:
        """How far it goes."""
        return f"{self.ratio:g} weights a number"

    def nbytes(self, layer: WeightStack) -> int:
        """Return what the numbers take."""
        return self._buckets(layer) * _NUMBER_BYTES

    def solve(self, problem: Quadratic, layer: WeightStack, *, quick: bool = False) -> np.ndarray:
        """Return the weight that costs least."""
        array = layer.weight.array
        buckets, negated = buckets_of(array.size, self._buckets(layer))
        factor = np.where(negated, -1.0, 1.0).reshape(array.shape)
        return project(problem, layer.matrix(buckets.reshape(array.shape)), layer.matrix(factor))

    def _buckets(self, layer: WeightStack) -> int:
        return near(layer.weight.array.size / self.ratio)


class Circulant(ProjectingPass):
    """Make dense layers of circulant blocks: each row of a block is the one above, moved on by one.

    Before: y = Gemm(x, W)
    After:  y = Gemm(x, W'), W'[i, j] of a block a number for each (j - i) modulo `block`

    Every block takes the numbers of one row, in 16 bits, which `pack-weights` stores; ONNX Runtime
    makes the matrix of them at load. The numbers are those that cost least at the model's outputs,
    in closed form, by the metric of `binarize`; without data they are the means of diagonals.
    Biases are fitted, and the layers behind that keep their weights.

    How far: as `block` says; else as far as a limit on the drop (`--max-drop`) allows, which
    chooses for each layer; else blocks of 4. Nothing is trained: a matrix that was not trained to
    be circulant loses much, and this is a point to train from.

    Leaves alone: layers other than products and pointwise convolutions (not-dense), grouped ones
    (grouped), layers whose weights cost more than they save (not-chosen), weights below `smallest`
    (too-small), names that match `exclude` (excluded), operators not in `op_types` (op-type),
    recurrent ones (recurrent), quantized weights (already-quantized), computed ones
    (dynamic-weight), ones that something else reads (shared-weight), ones with infinities
    (non-finite), ones that the file computes of less (computed-weight), ones of zeros only
    (all-zero), weights of a type of 16 bits (short-numbers);
    everything where no choice keeps to the limit (too-lossy).
    Numerics: lossy.
    Reference: Cheng et al., An Exploration of Parameter Redundancy in Deep Networks with Circulant
    Projections, 2015; Ding et al., CirCNN, 2017.
    """

    name = "circulant"
    goals = ("block",)
    usual = CirculantBlocks(_DEFAULT)

    block: int | None = option(None, help="Rows and columns of a block.", at_least=2, at_most=4096)

    def codes(self, layer: WeightStack) -> Sequence[Code] | Reason:
        """Return blocks of several sizes, or of the one that is asked for."""
        weight = layer.weight
        if weight.form.groups > 1:
            return Reason("grouped", "its groups have matrices of their own")
        if any(extent > 1 for extent in weight.array.shape[2:]):
            return Reason("not-dense", "it is no product with one matrix")
        most = max(weight.array.shape)
        wanted = [self.block] if self.block is not None else _BLOCKS
        return [CirculantBlocks(min(n, most)) for n in wanted]


class Hash(ProjectingPass):
    """Let weights share numbers by a hash of their place, of either sign.

    Before: y = Conv(x, W)
    After:  y = Conv(x, W'), W'[place] = sign(place) * numbers[hash(place)]

    Which number a weight has takes no bytes, because the hash is computed of its place:
    `pack-weights` stores the numbers only, in 16 bits, and ONNX Runtime computes the rest with
    integer operators at load. The numbers are those that cost least at the model's outputs, in
    closed form, by the metric of `binarize`; without data they are means. Biases are fitted, and
    the layers behind that keep their weights.

    How far: as `ratio` says; else as far as a limit on the drop (`--max-drop`) allows, which
    chooses for each layer; else 4 weights a number. Nothing is trained: weights that were not
    trained to share lose much, and this is a point to train from.

    Leaves alone: layers whose weights cost more than they save (not-chosen), weights below
    `smallest` (too-small), names that match `exclude` (excluded), operators not in `op_types`
    (op-type), recurrent ones (recurrent), quantized weights (already-quantized), computed ones
    (dynamic-weight), ones that something else reads (shared-weight), ones with infinities
    (non-finite), ones that the file computes of less (computed-weight), ones of zeros only
    (all-zero), weights of a type of 16 bits (short-numbers);
    everything where no choice keeps to the limit (too-lossy).
    Numerics: lossy.
    Reference: Chen et al., Compressing Neural Networks with the Hashing Trick, 2015.
    """

    name = "hash"
    goals = ("ratio",)
    usual = HashedPlaces(float(_DEFAULT))

    ratio: float | None = option(None, help="Weights for each number.", at_least=1.5, at_most=1024)

    def codes(self, layer: WeightStack) -> Sequence[Code] | Reason:
        """Return several ratios, or the one that is asked for."""
        wanted = [self.ratio] if self.ratio is not None else _RATIOS
        return [HashedPlaces(float(n)) for n in wanted]
