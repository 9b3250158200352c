"""Coding a matrix of integers, in the part of Python that numba compiles (see `kernel.py`).

A value is coded as the bit length of its magnitude in unary, its sign, and the bits below the
first. Every step of the unary code mixes what six contexts expect: the column, the means of
column and row so far, and neighbours to the left, above, and one kernel before. The sign mixes
what the column and three sets of neighbours expect.
"""

from __future__ import annotations

from ocompress.coding.kernel import COST, Array, Work, code_mixed, code_plain

INPUTS, SIGN_INPUTS = 6, 4
LENGTHS = 24
"""Bits that a magnitude may have."""
LIMIT, MEAN_LIMIT = 255, 60
FAST, SLOW, FAST_ROWS = 24, 12, 20
"""Speed of the mixer in the first rows and after them; signs always take the slow one."""
SETS = 56
"""Of the mixer's weights: seven for unary steps times eight for rows seen; signs come after."""
WEIGHT, SIGN_WEIGHT = 13000, 20000
"""Of each input at first, in 1/65536."""

BY_MEANS = 0
BY_ROW = BY_MEANS + 64 * 8 * 32
BY_NEAR = BY_ROW + 32 * 32 * 32
BY_FAR = BY_NEAR + 343 * 32
BY_ALL = BY_FAR + 343 * 32
SIGNS = BY_ALL + 64 * 32
SIGNS_LEFT = SIGNS + 27
SIGNS_UP = SIGNS_LEFT + 27
BITS = SIGNS_UP + 27
LOW_BITS = BITS + 32 * 8 * 64
BY_COLUMN = LOW_BITS + 32 * 32
"""Where the slots of each context begin; those of the columns come last."""
COLUMN_SLOTS = 5
"""Of each column: four for unary steps, one for the sign."""

LEFT, LEFT2, KERNEL, UP, UP2, UP_LEFT, UP_RIGHT = 0, 1, 2, 3, 4, 5, 6
ROW_MEAN, ALL = 7, 8
"""Places of the scratch array: magnitudes around, 256 times the row's mean, the class of all."""
SCRATCH = 9


def mean_class(x: int, w: Work) -> int:
    """Return the class of a mean magnitude in 1/256: four to every doubling, 64 in all."""
    found: int = 0
    while x >= 4096:
        x >>= 1
        found += 4
    found += w.classes[x]
    return found if found < 63 else 63  # noqa: FURB136 - numba and mypy agree on this type


def small(m: int) -> int:
    """Return the class of a magnitude: 0, 1, 2, 3 to 4, 5 to 8, 9 to 16, more."""
    if m < 3:
        return m
    if m < 5:
        return 3
    if m < 9:
        return 4
    return 5 if m < 17 else 6


def sign_of(v: int) -> int:
    """Return 0 for zero, 1 below it, 2 above."""
    return 0 if v == 0 else (1 if v < 0 else 2)


def look_around(values: Array, at: int, row: int, column: int, shape: Array, w: Work) -> None:
    """Note the magnitudes around a place; what lies outside counts as zero."""
    columns, inner, near = shape[1], shape[2], w.scratch
    near[LEFT] = abs(values[at - 1]) if column > 0 else 0
    near[LEFT2] = abs(values[at - 2]) if column > 1 else 0
    near[KERNEL] = abs(values[at - inner]) if column >= inner else 0
    near[UP] = abs(values[at - columns]) if row > 0 else 0
    near[UP2] = abs(values[at - 2 * columns]) if row > 1 else 0
    near[UP_LEFT] = abs(values[at - columns - 1]) if row > 0 and column > 0 else 0
    near[UP_RIGHT] = abs(values[at - columns + 1]) if row > 0 and column + 1 < columns else 0


def choose_slots(column: int, mean: int, w: Work) -> None:
    """Find the slots of the first unary step from what is around; `mean` is the column's."""
    near = w.scratch
    left, up, row_mean = near[LEFT], near[UP], near[ROW_MEAN]
    of_column, of_row = mean_class(mean, w), mean_class(row_mean, w)
    around = 2 * (left + up) + near[LEFT2] + near[KERNEL] + near[UP_LEFT] + near[UP_RIGHT]
    near[ALL] = mean_class((around * 32 + mean + row_mean) // 3, w)
    which = min(3, left) + (4 if up > 0 else 0)
    close = small(left) * 49 + small(up) * 7 + small(near[LEFT2] + near[KERNEL])
    corners = near[UP_LEFT] + near[UP_RIGHT]
    far = small(near[KERNEL]) * 49 + small(near[UP2]) * 7 + small(corners)
    w.where[0] = BY_COLUMN + column * COLUMN_SLOTS
    w.where[1] = BY_MEANS + (of_column * 8 + which) * 32
    w.where[2] = BY_ROW + ((of_row >> 1) * 32 + (of_column >> 1)) * 32
    w.where[3] = BY_NEAR + close * 32
    w.where[4] = BY_FAR + far * 32
    w.where[5] = BY_ALL + near[ALL] * 32


def code_length(magnitude: int, rows_seen: int, speed: int, mixed: int, w: Work) -> int:
    """Code the bit length of a magnitude: `mixed` steps of the unary code mix, the rest do not."""
    k = 0
    while k < LENGTHS:
        bit = 1 if magnitude >> k else 0
        if k < mixed:
            chosen = (min(6, k) * 8 + rows_seen) * (INPUTS + 1)
            bit = code_mixed(bit, INPUTS, chosen, speed, LIMIT, w)
        else:
            bit = code_plain(bit, w.where[5], LIMIT, w)
        if bit == 0:
            break
        k += 1
        w.where[0] += 1 if k < 4 else 0
        for i in range(1, INPUTS):
            w.where[i] += 1
    return k


def code_sign(values: Array, at: int, row: int, column: int, shape: Array, w: Work) -> int:
    """Code whether a value is below zero, by the signs around it and in its column."""
    columns, inner = shape[1], shape[2]
    left = sign_of(values[at - 1]) if column > 0 else 0
    left2 = sign_of(values[at - 2]) if column > 1 else 0
    up = sign_of(values[at - columns]) if row > 0 else 0
    up2 = sign_of(values[at - 2 * columns]) if row > 1 else 0
    before = sign_of(values[at - inner]) if column >= inner else 0
    corner = sign_of(values[at - columns - 1]) if row > 0 and column > 0 else 0
    w.where[0] = BY_COLUMN + column * COLUMN_SLOTS + 4
    w.where[1] = SIGNS + left * 9 + up * 3 + before
    w.where[2] = SIGNS_LEFT + left * 9 + left2 * 3 + corner
    w.where[3] = SIGNS_UP + up * 9 + up2 * 3 + corner
    bit = 1 if values[at] < 0 else 0
    return code_mixed(bit, SIGN_INPUTS, SETS * (INPUTS + 1), SLOW, LIMIT, w)


def code_below(magnitude: int, length: int, w: Work) -> int:
    """Code the bits of a magnitude below its first, and return the magnitude."""
    found = 1
    for b in range(length - 2, -1, -1):
        depth = length - 2 - b
        if depth < 3:
            tree = (1 << depth) + (found & ((1 << depth) - 1))
            slot = BITS + (length * 8 + tree) * 64 + (w.scratch[ALL] >> 3)
        else:
            slot = LOW_BITS + length * 32 + b
        found = found * 2 + code_plain((magnitude >> b) & 1, slot, LIMIT, w)
    return found


def code_matrix(
    values: Array, shape: Array, mixed: int, means: Array, lengths: Array, w: Work
) -> None:
    """Code a matrix row by row.

    Args:
        values: The integers, or room for them when decoding.
        shape: Rows, columns, and the columns of one kernel.
        mixed: Steps of the unary code that mix.
        means: 256 times the mean magnitude of each column so far; zeros at first.
        lengths: Bits * 65536 of each value, when they are counted; empty if nobody asks.
        w: All else that is read and written.
    """
    rows, columns = shape[0], shape[1]
    for row in range(rows):
        speed = FAST if row < FAST_ROWS else SLOW
        rows_seen, left = 0, row
        while left > 0 and rows_seen < 7:
            left >>= 1
            rows_seen += 1
        w.scratch[ROW_MEAN] = 0
        by_row = w.rates[min(MEAN_LIMIT, row)]
        for column in range(columns):
            at = row * columns + column
            before = w.coder[COST]
            look_around(values, at, row, column, shape, w)
            choose_slots(column, means[column], w)
            m = abs(values[at])
            length = code_length(m, rows_seen, speed, mixed, w)
            m = 0
            if length:
                negative = code_sign(values, at, row, column, shape, w)
                m = code_below(abs(values[at]), length, w)
                values[at] = -m if negative else m
            else:
                values[at] = 0
            means[column] += (((m << 8) - means[column]) * by_row) >> 16
            rate = w.rates[min(MEAN_LIMIT, column)]
            w.scratch[ROW_MEAN] += (((m << 8) - w.scratch[ROW_MEAN]) * rate) >> 16
            if len(lengths):
                lengths[at] = w.coder[COST] - before
