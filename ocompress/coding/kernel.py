"""The arithmetic of the coders, in the part of Python that numba compiles.

Every function here and in the other kernels runs in two ways: as it stands, over lists, which is
the reference, and compiled, over int64 arrays (`engine.py`). Sums and products stay below 2**62,
and hashes keep low bits only, so both agree bit for bit. Encoding, decoding and counting bits are
one traversal that differs in `MODE` alone, so what one writes the others read by construction.
docs/archive-format.md says the same in words.
"""

from __future__ import annotations

from typing import Any, NamedTuple

Array = Any
"""A list of int, or an int64 array, one-dimensional."""

ENCODE, DECODE, COUNT = 0, 1, 2
LOW, RANGE, POSITION, COST, MODE, FULL = 0, 1, 2, 3, 4, 5
"""Places in the coder's state. `COST` is in bits * 65536; `FULL` says that the room was short."""
STATE = 6

FRESH = (1 << 21) << 10
"""A slot that has seen nothing: probability 1/2 in 1/2**22, and a count of 0 in the low 10 bits."""


class Work(NamedTuple):
    """All that a traversal reads and writes, one array each.

    Attributes:
        coder: The coder's state.
        data: Bytes that are written or read.
        slots: Adaptive probabilities.
        weights: Weights of the mixer, in 1/65536, a set after the other.
        where: Slots whose probabilities are mixed for the next bit.
        odds: Log odds of these, in 1/256.
        scratch: Numbers that the functions of a traversal hand to each other.
        costs: Bits * 65536 of an event by its probability in 1/4096.
        rates: 65536 / (n + 1.5) by n.
        stretches: Log odds in 1/256 by probability in 1/4096.
        squashes: Probability in 1/65536 by log odds in 1/256, from -2048.
        classes: Class of a mean magnitude in 1/256, up to 4095.
    """

    coder: Array
    data: Array
    slots: Array
    weights: Array
    where: Array
    odds: Array
    scratch: Array
    costs: Array
    rates: Array
    stretches: Array
    squashes: Array
    classes: Array


def carry(w: Work) -> None:
    """Add the carry to the bytes that are written."""
    w.coder[LOW] &= 4294967295
    at = w.coder[POSITION] - 1
    while w.data[at] == 255:
        w.data[at] = 0
        at -= 1
    w.data[at] += 1


def shift_byte(w: Work) -> None:
    """Move on by a byte; zeros follow the last one that is there to read."""
    at = w.coder[POSITION]
    if w.coder[MODE] == DECODE:
        w.coder[LOW] = (w.coder[LOW] << 8) | (w.data[at] if at < len(w.data) else 0)
    elif at < len(w.data):
        w.data[at] = w.coder[LOW] >> 24
        w.coder[LOW] = (w.coder[LOW] & 16777215) << 8
    else:
        w.coder[FULL] = 1
        return
    w.coder[POSITION] = at + 1


def start(w: Work, mode: int) -> None:
    """Set up the coder's state."""
    for i in range(STATE):
        w.coder[i] = 0
    w.coder[MODE] = mode
    w.coder[RANGE] = 4294967295
    if mode == DECODE:
        for _ in range(4):
            shift_byte(w)
        w.coder[LOW] = min(w.coder[LOW], 4294967294)  # inside of the range, as coders leave it


def finish(w: Work) -> int:
    """Write what is left, one byte, and return the number of all; zeros follow when reading."""
    w.coder[LOW] += 16777215
    if w.coder[LOW] >> 32:
        carry(w)
    shift_byte(w)
    size: int = w.coder[POSITION]
    return size


def code_bit(bit: int, p: int, w: Work) -> int:
    """Code one bit, whose value counts for nothing when decoding, and return it.

    `p` is the probability of a one, in 1/65536, from 1 to 65535.
    """
    mode = w.coder[MODE]
    if mode == COUNT:
        w.coder[COST] += w.costs[(p if bit else 65536 - p) >> 4]
        return bit
    width = w.coder[RANGE]
    bound = (width * p) >> 16
    if mode == DECODE:
        bit = 1 if w.coder[LOW] < bound else 0
    if bit:
        width = bound
    else:
        width -= bound
        if mode == DECODE:
            w.coder[LOW] -= bound
        else:
            w.coder[LOW] += bound
            if w.coder[LOW] >> 32:
                carry(w)
    while width < 16777216:
        width <<= 8
        shift_byte(w)
    w.coder[RANGE] = width
    return bit


def adapt(at: int, bit: int, limit: int, w: Work) -> None:
    """Move a slot's probability to what came: by 1/(n + 1.5) the nth time, up to n = `limit`."""
    n = w.slots[at] & 1023
    p = w.slots[at] >> 10
    if bit:
        p += ((4194303 - p) * w.rates[n]) >> 16
    else:
        p -= (p * w.rates[n]) >> 16
    if n < limit:
        n += 1
    w.slots[at] = (p << 10) | n


def code_plain(bit: int, at: int, limit: int, w: Work) -> int:
    """Code one bit by the probability of one slot."""
    p = w.slots[at] >> 16
    p = max(p, 48)
    p = min(p, 65488)
    bit = code_bit(bit, p, w)
    adapt(at, bit, limit, w)
    return bit


def code_mixed(bit: int, count: int, base: int, speed: int, limit: int, w: Work) -> int:
    """Code one bit by the probabilities of several slots, mixed by learned weights.

    Args:
        bit: Its value.
        count: Number of slots, named in `w.where`.
        base: Where the weights that mix them begin.
        speed: How fast these learn.
        limit: As for `adapt`.
        w: All that is read and written.
    """
    total = w.weights[base + count] << 8
    for i in range(count):
        w.odds[i] = w.stretches[w.slots[w.where[i]] >> 20]
        total += w.weights[base + i] * w.odds[i]
    total >>= 16
    total = max(total, -2047)
    total = min(total, 2047)
    p = w.squashes[total + 2048]
    bit = code_bit(bit, p, w)
    error = ((bit << 16) - p) * speed
    for i in range(count):
        w.weights[base + i] += (w.odds[i] * error + 524288) >> 20
        adapt(w.where[i], bit, limit, w)
    w.weights[base + count] += ((error << 8) + 524288) >> 20
    return bit
