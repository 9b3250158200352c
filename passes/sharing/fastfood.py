"""Weights as products of diagonals and Walsh-Hadamard matrices, block by block."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ocompress.archive.fastfood import SIZES, gathered, in_blocks, spread, told
from ocompress.archive.fastfood_rounding import COLUMN_BITS, ROW_BITS, few_bits, room, whole
from ocompress.errors import OptionError
from ocompress.lossy.engine import Reason
from ocompress.pipeline import option
from passes.sharing.layers import WeightStack
from passes.sharing.projected import Code
from passes.sharing.projecting import ProjectingPass
from passes.sharing.quadratic import ROUGH, Quadratic, Share, fitted, least_squares

_BLOCKS = (2, 4, 8, 16)
_DEFAULT = 4
_ROUNDS, _QUICK_ROUNDS, _STILL = 12, 4, 0.01
"""How often the diagonals are fitted in turn, at most, and the part of the cost that a round has to
save for another one to follow."""
_STEPS, _LAST_STEPS = 8, 60
"""Of conjugate gradients for each: what is left is for the next round."""
_SCALE_BYTES = 2


@dataclass(frozen=True)
class _Middle:
    """Weights that are linear in D2, the other diagonals as they are.

    Attributes:
        layer: The layer.
        rows: D1, [rows].
        columns: D3, [columns].
        free: Which numbers there are, bool [blocks down, blocks across, size of a block].
    """

    layer: WeightStack
    rows: np.ndarray
    columns: np.ndarray
    free: np.ndarray

    def sums_of(self, numbers: np.ndarray) -> np.ndarray:
        """Return H D2 P H, [rows, columns]."""
        levels = (numbers.reshape(self.free.shape) * self.free).astype(np.float32)
        return spread(levels, self.rows.size, self.columns.size)

    def weight(self, numbers: np.ndarray) -> np.ndarray:
        """Return the weight that numbers make, (groups, inputs, outputs)."""
        return _placed(self.layer, self.rows[:, None] * self.sums_of(numbers) * self.columns)

    def sums(self, slope: np.ndarray) -> np.ndarray:
        """Return what the slopes of all weights say of each number."""
        found = gathered(self._scaled(slope, 1).astype(np.float32), self.free.shape[2])
        return np.asarray((found * self.free).reshape(-1), np.float64)

    def squares(self, weights: np.ndarray) -> np.ndarray:
        """Return what a squared error of each number costs by itself."""
        each = in_blocks(self._scaled(weights, 2), self.free.shape[2]).sum((1, 3))
        return np.asarray((each[..., None] * self.free).reshape(-1))

    def _scaled(self, matrix: np.ndarray, power: int) -> np.ndarray:
        array = self.layer.array(matrix).reshape(self.rows.size, -1)
        return np.asarray(self.rows[:, None] ** power * array * self.columns**power)


def _placed(layer: WeightStack, rows: np.ndarray) -> np.ndarray:
    """Return a matrix whose rows are those of the weight as (groups, inputs, outputs)."""
    return layer.matrix(rows.reshape(layer.weight.array.shape))


@dataclass
class _Diagonals:
    """The diagonals of a layer, fitted in turn: each is linear least squares given the others."""

    problem: Quadratic
    layer: WeightStack
    size: int

    def __post_init__(self) -> None:
        """Start with what is zero, and ones."""
        array = self.layer.weight.array
        matrix = array.reshape(len(array), -1)
        used = matrix != 0
        self.rows, self.columns = used.any(1) * 1.0, used.any(0) * 1.0
        self.free = told(self.rows != 0, self.columns != 0, self.size)
        self.numbers = np.zeros(self.free.size)
        self._place = [
            _placed(self.layer, np.broadcast_to(each, matrix.shape))
            for each in (np.arange(len(matrix))[:, None], np.arange(matrix.shape[1]))
        ]

    @property
    def middle(self) -> _Middle:
        """What is linear in D2."""
        return _Middle(self.layer, self.rows, self.columns, self.free)

    @property
    def weight(self) -> np.ndarray:
        """The weight now, (groups, inputs, outputs)."""
        return self.middle.weight(self.numbers)

    def fit(self, rounds: int) -> None:
        """Fit D2, D1 and D3 in turn."""
        cost = np.inf
        self.fit_middle(_STEPS)
        for _ in range(rounds):
            self._fit_sides()
            self.fit_middle(_STEPS)
            before, cost = cost, self.problem.cost(self.weight)
            if cost > (1 - _STILL) * before:
                break

    def fit_middle(self, steps: int) -> None:
        """Fit D2, in so many steps at most."""
        given = self.problem, self.middle, self.numbers
        self.numbers = least_squares(*given, ROUGH, steps)

    def _fit_sides(self) -> None:
        sums = self.middle.sums_of(self.numbers).astype(np.float64)
        share = Share(self._place[0], _placed(self.layer, sums * self.columns))
        self.rows = fitted(self.problem, [share], self.rows, ROUGH, _STEPS)
        share = Share(self._place[1], _placed(self.layer, sums * self.rows[:, None]))
        self.columns = fitted(self.problem, [share], self.columns, ROUGH, _STEPS)

    def rounded(self) -> np.ndarray:
        """Return the weight of diagonals of a few bits, each fitted to those that are rounded."""
        self.columns = few_bits(self.columns, COLUMN_BITS)
        self.fit_middle(_LAST_STEPS)
        shape = self.rows.size, self.columns.size
        times = room(self.numbers.reshape(self.free.shape), *shape)
        each = np.repeat(times, self.size)[: self.rows.size]
        self.rows = few_bits(self.rows / each, ROW_BITS)
        self.numbers = (self.numbers.reshape(self.free.shape) * times[:, None, None]).reshape(-1)
        self.fit_middle(_LAST_STEPS)
        found = whole(self.rows, self.numbers.reshape(self.free.shape), self.columns)
        return _placed(self.layer, found.matrix.astype(np.float64))


@dataclass(frozen=True)
class FastfoodBlocks:
    """Blocks of so many rows and columns that diagonals make of Walsh-Hadamard matrices."""

    size: int
    method: str = "fastfood"

    @property
    def setting(self) -> str:
        """How far it goes."""
        return f"blocks of {self.size}"

    def nbytes(self, layer: WeightStack) -> int:
        """Return what the diagonals take."""
        array = layer.weight.array
        rows, columns = len(array), array[0].size
        blocks = -(-rows // self.size) * -(-columns // self.size)
        return int(blocks * self.size + _SCALE_BYTES * (rows + columns))

    def solve(self, problem: Quadratic, layer: WeightStack, *, quick: bool = False) -> np.ndarray:
        """Return the weight that costs least."""
        found = _Diagonals(problem, layer, self.size)
        found.fit(_QUICK_ROUNDS if quick else _ROUNDS)
        return found.weight if quick else found.rounded()


class Fastfood(ProjectingPass):
    """Make weights of three diagonals and two Walsh-Hadamard matrices, block by block.

    Before: y = Gemm(x, W)
    After:  y = Gemm(x, W'), W' = D1 H D2 P H D3 in blocks of `block` rows and columns

    H is the Walsh-Hadamard matrix and P a permutation, both counted out at load, so that the
    diagonals are all that `pack-weights` stores: D2 of each block in 8 bits a number, and D1 and
    D3, which blocks of a row and of a column have in common, in 16. Kernels count as rows. The
    diagonals are those that cost least at the model's outputs, each in closed form in turn, by the
    metric of `binarize`. Biases are fitted, and the layers behind that keep their weights.

    How far: as `block` says; else as far as a limit on the drop (`--max-drop`) allows, which
    chooses for each layer; else blocks of 4. Nothing is trained: weights that were not trained to
    be such products lose much, and this is a point to train from (`fastfood,tune`).

    Leaves alone: layers whose weights cost more than they save (not-chosen), weights below
    `smallest` (too-small), names that match `exclude` (excluded), operators not in `op_types`
    (op-type), recurrent ones (recurrent), quantized weights (already-quantized), computed ones
    (dynamic-weight), ones that something else reads (shared-weight), ones with infinities
    (non-finite), ones that the file computes of less (computed-weight), ones of zeros only
    (all-zero), weights that files hold in 16 bits (short-numbers);
    everything where no choice keeps to the limit (too-lossy).
    Numerics: lossy.
    Reference: Yang et al., Deep Fried Convnets, 2015; Le, Sarlos and Smola, Fastfood, 2013.
    """

    name = "fastfood"
    goals = ("block",)
    usual = FastfoodBlocks(_DEFAULT)
    in_cast = False

    block: int | None = option(
        None, help="Rows and columns of a block, a power of two.", at_least=2, at_most=SIZES[-1]
    )

    def __post_init__(self) -> None:
        """Check the block.

        Raises:
            OptionError: If it is no power of two.
        """
        super().__post_init__()
        if self.block is not None and self.block not in SIZES:
            known = ", ".join(map(str, SIZES))
            msg = f"fastfood: block is {self.block}; a block has {known} rows and columns"
            raise OptionError(msg)

    def codes(self, layer: WeightStack) -> Sequence[Code] | Reason:
        """Return blocks of several sizes, or of the one that is asked for."""
        array = layer.weight.array
        most = 1 << (max(len(array), array[0].size) - 1).bit_length()
        wanted = [self.block] if self.block is not None else _BLOCKS
        return [FastfoodBlocks(n) for n in dict.fromkeys(min(n, most) for n in wanted)]
