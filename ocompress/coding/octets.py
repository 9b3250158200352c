"""Coding bytes: text and structure by mixed contexts, planes of numbers by a tree of counts."""

from __future__ import annotations

import numpy as np

from ocompress.coding import byte_kernel as k
from ocompress.coding import tables
from ocompress.coding.engine import Engine, engine
from ocompress.coding.kernel import DECODE, ENCODE, FRESH, FULL, STATE, Work

PLAIN, AFTER, MIXED = k.MODEL_PLAIN, k.MODEL_AFTER, k.MODEL_MIXED
"""Models: no context, the byte before, or a mixture of up to four bytes before."""
MODELS = (PLAIN, AFTER, MIXED)
_STEPS = 8


def encode_bytes(content: bytes, model: int = MIXED) -> bytes:
    """Code bytes; their number and the model are needed to decode them."""
    runner = engine(len(content) * _STEPS)
    room = 64 + len(content) * 2
    while True:
        work = _work(runner, model, runner.room(room), len(content))
        _traverse(runner, work, ENCODE, runner.numbers(list(content)), model)
        size = runner.functions["finish"](work)
        if not work.coder[FULL]:
            return bytes(work.data[:size])
        room *= 4


def decode_bytes(code: bytes, size: int, model: int = MIXED) -> bytes:
    """Return the `size` bytes of a code that `encode_bytes` made."""
    runner = engine(size * _STEPS)
    work = _work(runner, model, runner.room(code), size)
    values = runner.filled(size, 0)
    _traverse(runner, work, DECODE, values, model)
    return np.array(values, np.uint8).tobytes()


def _traverse(runner: Engine, work: Work, mode: int, values: object, model: int) -> None:
    runner.functions["start"](work, mode)
    places = runner.filled(k.PLACES if model == MIXED else 0, 0)
    runner.functions["code_bytes"](values, model, places, work)


def _slots(model: int, size: int) -> int:
    if model == MIXED:
        return k.HASHED + (3 << k.hash_bits(size))
    return 65536 if model == AFTER else 256


def _work(runner: Engine, model: int, data: object, size: int) -> Work:
    weights = ([k.BYTE_WEIGHT] * k.BYTE_INPUTS + [0]) * (k.BYTE_SETS if model == MIXED else 0)
    return Work(
        coder=runner.filled(STATE, 0),
        data=data,
        slots=runner.filled(_slots(model, size), FRESH),
        weights=runner.numbers(weights),
        where=runner.filled(k.BYTE_INPUTS, 0),
        odds=runner.filled(k.BYTE_INPUTS, 0),
        scratch=runner.filled(1, 0),
        **{name: runner.numbers(table) for name, table in tables.by_name().items()},
    )
