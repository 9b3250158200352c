"""What compression fixed of a weight, seen from its values alone, and what is left to train.

Zeros stay zero. A weight on a grid keeps its integers; its steps are trained. One of few values
keeps who shares which; the values are trained. So does one of few blocks. Sums of signs keep the
signs; their scales are trained. Products of diagonals and Walsh-Hadamard matrices keep these; the
diagonals are trained. Where integers, choices and signs may move, they are trained along with the
rest. Whatever is written afterwards has the form it had, exactly.
"""

from __future__ import annotations

from math import prod

import numpy as np

from ocompress.archive.cosines import find_cosines
from ocompress.archive.fastfood import find_fastfood
from ocompress.archive.grids import Grid, find_grid, values_of
from ocompress.archive.tied_places import buckets_of, diagonals, find_circulant, find_hashed
from ocompress.ir import DType
from ocompress.training.cosine_form import Cosines
from ocompress.training.fastfood_form import Diagonals
from ocompress.training.forms import (
    Codes,
    Free,
    Stepped,
    Tied,
    TiedForm,
    TrainedScales,
    TrainedSteps,
)
from ocompress.training.moving_forms import MovingLevels, Nearest, Signs
from ocompress.training.parameters import ParameterRole
from ocompress.training.quantization_rules import range_of
from ocompress.training.sign_planes import find_planes
from ocompress.training.word_form import Blocks, Book, coded_bits, few_blocks

_LEAST = 16
"""Elements below which a weight has no structure."""
_SHARED = 8
"""Elements that share a value in the mean, or a step, at least."""
_MOST_VALUES = 1024
"""Different values that are taken for numbers of their own."""
_MOST_LEVELS = 1024
"""Largest integer of a weight with several steps; larger ones are of numbers of many bits."""
_SMALL_LEVELS = 7
"""Largest integer of a grid up to which nothing else is looked for: scales of few bits are all
multiples of one tiny step."""
_PAIRS = 2
"""Places that share a magnitude in the mean, at least, in a weight of tied numbers."""
_EVEN = 3.0
"""Variance of how many do, in proportion to that mean; 1 of a hash."""
_BFLOAT16 = DType.BFLOAT16.numpy
_OFFSET_LEVELS = 16
"""Largest integer of a vector on a grid, at least: the integers of fewer say nothing."""
_PLANES = 3
_STEP_BITS = 12
_DENSE = 0.5
"""Part of the integers that are not zero from which on zero is a level like others."""


def form_of(
    array: np.ndarray,
    role: ParameterRole = ParameterRole.WEIGHT,
    *,
    moves_levels: bool | None = None,
) -> TiedForm | None:
    """Return the form of a weight: the first that fits of grid, few values, few blocks, mask.

    None if it has one that is not known: its values repeat, but they are so many that they are
    likely made of fewer numbers, as sums of signs are, and would no longer be if each was trained.

    Args:
        array: The weight.
        role: What it is to the model. Steps keep their sign, integers the range of their type.
        moves_levels: Whether integers, signs, and who shares which value change, too; None where
            that costs a coded file nothing: signs and shared values.
    """
    values = np.asarray(array).astype(np.float32)
    if role is ParameterRole.STEP:
        return TrainedScales(values)
    if role is ParameterRole.CODES:
        mask = values != 0
        return Codes(values, None if mask.mean() > _DENSE else mask, *range_of(DType.of(array)))
    if values.size < _LEAST or not np.isfinite(values).all() or not values.any():
        return Free(values)
    if values.ndim < 2:
        return _offsets(values)
    return _of_matrix(values, moves_levels)


def _of_matrix(values: np.ndarray, moves_levels: bool | None) -> TiedForm | None:
    distinct = len(np.unique(values))
    ruled = _by_rule(values, distinct)
    if ruled is not None:
        return ruled
    grid = _grid(values)
    if grid is None or np.abs(grid.levels).max() > _SMALL_LEVELS:
        matrix = values.reshape(values.shape[0], -1)
        for turned in (False, True):  # outputs are rows, or columns
            rows = matrix.T if turned else matrix
            waves = find_cosines(rows) if rows.shape[1] > 1 else None
            if waves is not None:
                return Cosines(waves, values.shape, turned=turned) if moves_levels else None
            planes = find_planes(rows)
            if planes is not None:
                return Signs(*planes, values.shape, turned=turned, moves=moves_levels is not False)
    shared = Book if moves_levels is False else Nearest
    if grid is not None:
        blocks = _in_units(grid, values)
        if blocks is not None:
            return shared(blocks, values.shape)
        return _on_grid(grid, values.shape, moves_levels)
    known = [few_blocks(values)]
    if distinct <= _MOST_VALUES:
        known.append(_few_values(values))
    elif known == [None]:
        return _tied(values, distinct)
    found = min((k for k in known if k is not None), key=lambda k: k.bits, default=None)
    return Free(values, values != 0) if found is None else shared(found, values.shape)


def _in_units(grid: Grid, values: np.ndarray) -> Blocks | None:
    """Return the words of a weight on a grid of one step, if they take less than its integers.

    Few levels, most of them zero, repeat in short runs by chance.
    """
    largest = int(np.abs(grid.levels).max())
    if grid.scales.size > 1 or largest <= _SMALL_LEVELS:
        return None
    blocks = few_blocks(values)
    return blocks if blocks is not None and blocks.bits < coded_bits(grid.levels) else None


def _on_grid(grid: Grid, shape: tuple[int, ...], moves_levels: bool | None) -> TiedForm | None:
    largest = np.abs(grid.levels).max()
    if grid.scales.size > 1 and largest > _MOST_LEVELS:
        return None
    if moves_levels or (moves_levels is None and largest == 1):
        return MovingLevels(grid, shape, _precision(grid))
    return TrainedSteps(grid, shape, _precision(grid))


def _by_rule(values: np.ndarray, distinct: int) -> TiedForm | None:
    """Return the form of numbers that make weights by a rule; some of them may be equal."""
    blocks = find_fastfood(values.reshape(values.shape[0], -1))
    if blocks is not None:
        return Diagonals(blocks, values.shape)
    if distinct <= min(_MOST_VALUES, int(np.count_nonzero(values)) // _SHARED):
        return None  # few values
    hashed = find_hashed(values.reshape(-1))
    if hashed is not None:
        index, negated = buckets_of(values.size, hashed[1])
        return Tied(hashed[0], index, np.where(negated, -1, 1).reshape(values.shape))
    circulant = find_circulant(values.reshape(values.shape[0], -1))
    if circulant is not None:
        index = diagonals(len(values), values[0].size, circulant[1])
        return Tied(circulant[0], index, np.ones(values.shape))
    return None


def _tied(values: np.ndarray, distinct: int) -> TiedForm | None:
    """Return the form of many values that repeat: tied, free, or none that is known.

    Places that share numbers by design, by a hash or along diagonals, do so about evenly. Numbers
    of few bits repeat as well, the larger ones far more often, and mean nothing by it.
    """
    sizes = np.abs(values[values != 0])
    _, counts = np.unique(sizes, return_counts=True)
    if len(counts) * _PAIRS <= sizes.size and np.var(counts) <= _EVEN * np.mean(counts):
        numbers, index = np.unique(np.abs(values), return_inverse=True)
        return Tied(numbers, index, np.sign(values))
    is_short = any((values.astype(kind) == values).all() for kind in (np.float16, _BFLOAT16))
    if distinct * _SHARED <= sizes.size and not is_short:
        return None
    return Free(values, values != 0)


def _offsets(values: np.ndarray) -> TiedForm:
    """Return the form of a vector: offsets on a grid go from level to level."""
    grid = find_grid(values[None], 1, values.size)
    if grid is None or np.abs(grid.levels).max() < _OFFSET_LEVELS:
        return Free(values)
    return Stepped(values, _steps(grid, values.shape))


def _grid(values: np.ndarray) -> Grid | None:
    matrix = values.reshape(values.shape[0], -1)
    rows, columns = matrix.shape
    for block in ((rows, columns), (1, columns), (rows, 1)):
        grid = find_grid(matrix, *block) if prod(block) >= _SHARED else None
        if grid is not None:
            return grid
    return None


def _steps(grid: Grid, shape: tuple[int, ...]) -> np.ndarray:
    """Return the step of every element; blocks of zeros only have any."""
    ones = Grid(grid.scales, np.ones_like(grid.levels), grid.rows_each, grid.columns_each)
    steps = values_of(ones, grid.levels.shape).reshape(shape)
    return np.where(steps > 0, steps, 1.0)


def _precision(grid: Grid) -> int | None:
    """Return the bits that steps have, where these are few, as multiples are exact then."""
    mantissas, _ = np.frexp(grid.scales.astype(np.float64))
    scaled = mantissas * (1 << _STEP_BITS)
    return _STEP_BITS if (scaled == np.rint(scaled)).all() else None


def _few_values(values: np.ndarray) -> Blocks | None:
    distinct, index = np.unique(values, return_inverse=True)
    if np.count_nonzero(distinct) * _SHARED > np.count_nonzero(values):  # zeros are a mask's
        return None
    return Blocks(distinct[:, None], index.reshape(-1))
