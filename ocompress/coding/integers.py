"""Coding matrices of integers, and what that costs, without writing anything."""

from __future__ import annotations

from typing import Any

import numpy as np

from ocompress.coding import integer_kernel as k
from ocompress.coding import tables
from ocompress.coding.engine import Engine, engine
from ocompress.coding.kernel import COUNT, DECODE, ENCODE, FRESH, FULL, STATE, Work

LARGEST = (1 << k.LENGTHS) - 1
"""Largest magnitude that can be coded."""
MOST_MIXED = k.LENGTHS
_WIDE = 6
"""Mean magnitude above which only the first steps mix: the rest would gain 0.1 %."""


def encode_integers(matrix: np.ndarray, *, inner: int = 1, mixed: int | None = None) -> bytes:
    """Code a matrix.

    Args:
        matrix: Integers [rows, columns]; rows are outputs, columns inputs and places of a kernel.
        inner: Columns of one kernel, such as 9 where a convolution has 3 x 3.
        mixed: Steps that mix contexts, at most `MOST_MIXED`; by default `steps_that_mix`.

    Returns:
        The code; shape, `inner` and `mixed` are needed to decode it.

    Raises:
        ValueError: If a magnitude is above `LARGEST`, or it is no matrix of integers.
    """
    flat = _checked(matrix)
    mixed = steps_that_mix(matrix) if mixed is None else mixed
    room = 64 + flat.size * 2
    while True:
        coded = _encoded(flat, matrix.shape, inner, mixed, room)
        if coded is not None:
            return coded
        room *= 4


def decode_integers(
    code: bytes, shape: tuple[int, int], *, inner: int = 1, mixed: int = MOST_MIXED
) -> np.ndarray:
    """Return the integers [rows, columns], int32, of a code that `encode_integers` made."""
    runner = engine(shape[0] * shape[1])
    work = _work(runner, shape[1], runner.room(code))
    values = runner.filled(shape[0] * shape[1], 0)
    _traverse(runner, work, DECODE, values, shape, inner, mixed, lengths=0)
    return np.array(values, np.int32).reshape(shape)


def code_bits(matrix: np.ndarray, *, inner: int = 1, mixed: int | None = None) -> float:
    """Return the bits that `encode_integers` would take for [rows, columns], to about a byte."""
    return float(symbol_bits(matrix, inner=inner, mixed=mixed).sum())


def symbol_bits(matrix: np.ndarray, *, inner: int = 1, mixed: int | None = None) -> np.ndarray:
    """Return the bits of every value in the code of the matrix, float64 [rows, columns].

    Raises:
        ValueError: As `encode_integers`.
    """
    flat = _checked(matrix)
    mixed = steps_that_mix(matrix) if mixed is None else mixed
    runner = engine(flat.size)
    work = _work(runner, matrix.shape[1], runner.room(0))
    values = runner.numbers(flat)
    lengths = _traverse(runner, work, COUNT, values, matrix.shape, inner, mixed, lengths=flat.size)
    return np.array(lengths, np.float64).reshape(matrix.shape) / 65536


def steps_that_mix(matrix: np.ndarray) -> int:
    """Return how many steps are worth mixing in [rows, columns]: all if magnitudes are small."""
    wide = matrix.size > 0 and np.abs(matrix).mean() > _WIDE
    return 2 if wide else MOST_MIXED


def _encoded(
    flat: np.ndarray, shape: tuple[int, ...], inner: int, mixed: int, room: int
) -> bytes | None:
    runner = engine(flat.size)
    work = _work(runner, shape[1], runner.room(room))
    _traverse(runner, work, ENCODE, runner.numbers(flat), shape, inner, mixed, lengths=0)
    size = runner.functions["finish"](work)
    return None if work.coder[FULL] else bytes(work.data[:size])


def _traverse(
    runner: Engine,
    work: Work,
    mode: int,
    values: Any,
    shape: tuple[int, ...],
    inner: int,
    mixed: int,
    *,
    lengths: int,
) -> Any:
    runner.functions["start"](work, mode)
    means = runner.filled(shape[1], 0)
    counted = runner.filled(lengths, 0)
    plan = runner.numbers([shape[0], shape[1], inner])
    runner.functions["code_matrix"](values, plan, mixed, means, counted, work)
    return counted


def _work(runner: Engine, columns: int, data: Any) -> Work:
    weights = ([k.WEIGHT] * k.INPUTS + [0]) * k.SETS + [k.SIGN_WEIGHT] * k.SIGN_INPUTS + [0]
    return Work(
        coder=runner.filled(STATE, 0),
        data=data,
        slots=runner.filled(k.BY_COLUMN + k.COLUMN_SLOTS * columns, FRESH),
        weights=runner.numbers(weights),
        where=runner.filled(k.INPUTS, 0),
        odds=runner.filled(k.INPUTS, 0),
        scratch=runner.filled(k.SCRATCH, 0),
        **{name: runner.numbers(table) for name, table in tables.by_name().items()},
    )


def _checked(matrix: np.ndarray) -> np.ndarray:
    if matrix.ndim != 2 or matrix.dtype.kind not in "iu":
        msg = f"{matrix.dtype} of shape {matrix.shape} is no matrix of integers"
        raise ValueError(msg)
    flat = matrix.astype(np.int64).reshape(-1)
    if flat.size and np.abs(flat).max() > LARGEST:
        msg = f"a magnitude is above {LARGEST}, the largest that can be coded"
        raise ValueError(msg)
    return flat
