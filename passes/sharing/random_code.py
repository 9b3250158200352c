"""Weights of words that a generator counts out: only which word is stored."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ocompress.lossy.engine import Reason
from ocompress.pipeline import option
from passes.sharing import random_words
from passes.sharing.layers import WeightStack
from passes.sharing.projected import Code
from passes.sharing.projecting import ProjectingPass
from passes.sharing.quadratic import Quadratic
from passes.storage.random_numbers import bells

_CHOICES = ((8, 16), (8, 8), (12, 8), (8, 4), (12, 4))
"""Bits of a word's number and weights of a word that are offered."""
_DEFAULT = (12, 8)
_LENGTHS = (4, 8, 16)
_SHORTEST, _LONGEST = 3, 32
_MORE = 1.5
"""By how much a word may be longer than is asked for."""
_SCALE_BYTES = 2


@dataclass(frozen=True)
class RandomWords:
    """Words of so many weights, numbered by so many bits."""

    bits: int
    length: int
    method: str = "random words"

    @property
    def setting(self) -> str:
        """How far it goes."""
        return f"{self.bits} bits for {self.length} weights"

    def nbytes(self, layer: WeightStack) -> int:
        """Return the numbers of words, and scales."""
        words = layer.weight.array.size // self.length
        return -(-words * self.bits // 8) + layer.weight.form.outputs * _SCALE_BYTES

    def solve(self, problem: Quadratic, layer: WeightStack, *, quick: bool = False) -> np.ndarray:
        """Return the weight that costs least."""
        rounds = 1 if quick else random_words.ROUNDS
        tall = _is_tall(layer)
        return random_words.solve(problem, _table(self), tall=tall, rounds=rounds).matrix


@lru_cache(8)
def _table(code: RandomWords) -> np.ndarray:
    return bells(code.length << code.bits).reshape(-1, code.length).astype(np.float64)


def _is_tall(layer: WeightStack) -> bool:
    """Whether weights that stand next to each other are inputs of one output."""
    weight = layer.weight
    return weight.form.out_axis != weight.array.ndim - 1


def _length(layer: WeightStack, wanted: int) -> int | None:
    """Return about so many weights that divide a row of the weight; None if nothing does."""
    array = layer.weight.array
    # inputs of an output, or outputs of an input; of stacked matrices, those of one of them
    row = math.prod(array.shape[layer.weight.form.out_axis + _is_tall(layer) :])
    slices = {int(np.prod(array.shape[at:])) for at in range(1, array.ndim)}
    most = min(_MORE * wanted, _LONGEST)
    lengths = [n for n in {*_LENGTHS, *slices} if _SHORTEST <= n <= most and row % n == 0]
    return min(lengths, key=lambda n: (abs(n - wanted), n)) if lengths else None


class RandomCode(ProjectingPass):
    """Make weights of words that a random generator counts out, so that their numbers say it all.

    Before: y = Conv(x, W)
    After:  y = Conv(x, W'), W' = scale * word, a word of `bits` for each `block` weights

    Words are whole numbers as from a normal distribution, and every file can count them out again;
    so `pack-weights` stores the numbers of words and a scale for each output channel, and no words.
    It is MIRACLE's code without its training: words are taken block by block, the inputs that
    follow making up for each error, by the metric of `binarize`; then scales in closed form and
    words one by one, in turn. Biases are fitted, and the layers behind that keep their weights.

    How far: as `bits` and `block` say; else as far as a limit on the drop (`--max-drop`) allows,
    which chooses from 0.5 to 3 bits a weight for each layer; else 12 bits for 8 weights. Where
    `block` does not divide a row of the weight, a length near it is taken: 4, 8, 16, the taps of a
    kernel or those of a row of it.

    Leaves alone: layers whose rows none of these divides (no-block), transposed and grouped
    convolutions (no-rows), layers whose weights cost more than they save (not-chosen), weights
    below `smallest` (too-small), names that match `exclude` (excluded), operators not in `op_types`
    (op-type), recurrent ones (recurrent), quantized weights (already-quantized), computed ones
    (dynamic-weight), ones that something else reads (shared-weight), ones with infinities
    (non-finite), ones that the file computes of less (computed-weight), ones of zeros only
    (all-zero), weights that files hold in 16 bits (short-numbers);
    everything where no choice keeps to the limit (too-lossy).
    Numerics: lossy.
    Reference: Havasi et al., Minimal Random Code Learning (MIRACLE), 2019; van Baalen et al.,
    GPTVQ, 2024.
    """

    name = "random-code"
    goals = ("bits", "block")
    usual = RandomWords(*_DEFAULT)
    in_cast = False

    bits: int | None = option(None, help="Bits of the number of a word.", at_least=4, at_most=12)
    block: int | None = option(None, help="Weights of a word, about.", at_least=4, at_most=_LONGEST)

    def codes(self, layer: WeightStack) -> Sequence[Code] | Reason:
        """Return words of several lengths, or those that are asked for."""
        weight = layer.weight
        if weight.form.groups > 1 or weight.nodes[0].is_op("ConvTranspose"):
            return Reason("no-rows", "its outputs are no rows or columns of its weight")
        given = self.bits is not None or self.block is not None
        wanted = [(self.bits or _DEFAULT[0], self.block or _DEFAULT[1])] if given else _CHOICES
        found = {}
        for bits, block in wanted:
            length = _length(layer, block)
            if length is not None:
                found[bits, length] = RandomWords(bits, length)
        if not found:
            return Reason("no-block", "nothing near `block` weights divides its rows")
        return list(found.values())
