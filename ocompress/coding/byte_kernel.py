"""Coding bytes, in the part of Python that numba compiles (see `kernel.py`).

A byte is eight steps down a binary tree. Bytes of numbers take the probability of the node, or
of the node after the byte before. Text and structure mix what the last zero to four bytes expect
and what followed when the last four bytes came before.
"""

from __future__ import annotations

from ocompress.coding.kernel import Array, Work, code_mixed, code_plain

MODEL_PLAIN, MODEL_AFTER, MODEL_MIXED = 0, 1, 2
BYTE_INPUTS = 6
BYTE_LIMIT, MIXED_LIMIT = 1000, 40
BYTE_SPEED = 30
BYTE_SETS = 16
BYTE_WEIGHT = 24000

LEAST_HASH, MOST_HASH, HASH_OVER = 12, 22, 7
"""Bits of hashes: `HASH_OVER` more than those of the number of bytes, within these bounds."""
ORDER_1 = 256
MATCHED = ORDER_1 + 65536
HASHED = MATCHED + 64
"""Where the slots of each context begin; those of two, three and four bytes come last."""

PLACES = 1 << 16
"""Hashes of four bytes whose last place is remembered."""
MISSES = 3
"""Wrong guesses after which a match is given up."""


def hash_bits(size: int) -> int:
    """Return the bits of the hashes for so many bytes."""
    bits = HASH_OVER
    while size > 0:
        size >>= 1
        bits += 1
    return min(max(bits, LEAST_HASH), MOST_HASH)


def hashed(number: int, bits: int) -> int:
    """Return a hash of so many bits of a number below 2**40."""
    return ((number * 2654435761) >> 13) & ((1 << bits) - 1)


def code_byte_plain(value: int, base: int, w: Work) -> int:
    """Code a byte by one slot a node."""
    node = 1
    for b in range(7, -1, -1):
        node = node * 2 + code_plain((value >> b) & 1, base + node, BYTE_LIMIT, w)
    return node - 256


def code_byte_mixed(value: int, history: int, guess: int, length: int, bits: int, w: Work) -> int:
    """Code a byte given the last four, and the byte that followed the like of them.

    Args:
        value: The byte.
        history: The last four bytes as a number.
        guess: The byte that is expected, if any is.
        length: Bytes that matched before it, up to 15; 0 if none is expected.
        bits: Of hashes.
        w: All that is read and written.
    """
    second, third = (history & 65535) << 8, (history & 16777215) << 8
    node = 1
    for b in range(7, -1, -1):
        w.where[0] = node
        w.where[1] = ORDER_1 + (history & 255) * 256 + node
        w.where[2] = HASHED + hashed(second + node, bits)
        w.where[3] = HASHED + (1 << bits) + hashed(third + node + 7, bits)
        last = hashed((history << 8) + node + 77, bits)
        w.where[4] = HASHED + (2 << bits) + last
        expected = (guess >> b) & 1
        w.where[5] = MATCHED + length * 2 + expected if length else MATCHED
        chosen = length * (BYTE_INPUTS + 1)
        bit = (value >> b) & 1
        bit = code_mixed(bit, BYTE_INPUTS, chosen, BYTE_SPEED, MIXED_LIMIT, w)
        if bit != expected:
            length = 0
        node = node * 2 + bit
    return node - 256


def code_bytes(values: Array, model: int, places: Array, w: Work) -> None:
    """Code bytes.

    Args:
        values: The bytes, or room for them when decoding.
        model: One of the models above.
        places: Last place of each hash, plus 1; zeros at first. Empty if nothing is mixed.
        w: All else that is read and written.
    """
    history, place, length, misses = 0, 0, 0, 0
    bits = hash_bits(len(values))
    for at in range(len(values)):
        if model != MODEL_MIXED:
            base = (history & 255) * 256 if model == MODEL_AFTER else 0
            value = code_byte_plain(values[at], base, w)
            values[at] = value
            history = value
            continue
        guess = values[place] if length else 0
        value = code_byte_mixed(values[at], history, guess, min(15, length), bits, w)
        values[at] = value
        if length and value == guess:
            length += 1
            place += 1
            misses = 0
        elif length and misses < MISSES:
            length = 1
            place += 1
            misses += 1
        else:
            length = 0
        history = ((history << 8) | value) & 4294967295
        if at >= 3:
            key = ((history * 2654435761) >> 16) & (PLACES - 1)
            if length < 2 and places[key] > 0:
                place = places[key]
                length = 2
                misses = 0
            places[key] = at + 1
