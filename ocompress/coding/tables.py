"""Tables of the coders. Those that decoders need are computed with integers only."""

from __future__ import annotations

import math
from functools import cache

_KNOTS = (
    22, 36, 60, 98, 162, 267, 439, 721, 1179, 1921, 3108, 4971, 7812, 11969, 17625, 24743,
    32768, 40793, 47911, 53567, 57724, 60565, 62428, 63615, 64357, 64815, 65097, 65269, 65374,
    65438, 65476, 65500, 65514,
)  # fmt: skip
"""The logistic function of -8 to 8 in steps of 1/2, times 65536."""


@cache
def squashes() -> list[int]:
    """Return probabilities in 1/65536 by log odds from -2048 to 2047, in 1/256."""
    table = []
    for x in range(4096):
        knot, part = x >> 7, x & 127
        table.append((_KNOTS[knot] * (128 - part) + _KNOTS[knot + 1] * part + 64) >> 7)
    return table


@cache
def stretches() -> list[int]:
    """Return log odds in 1/256 by probability in 1/4096: the least at which it is reached."""
    table, x = [], 1
    probabilities = squashes()
    for p in range(4096):
        while x < 4095 and probabilities[x] < p * 16 + 8:
            x += 1
        table.append(x - 2048)
    return table


@cache
def rates() -> list[int]:
    """Return 65536 / (n + 1.5) by n from 0 to 1023, rounded down."""
    return [131072 // (2 * n + 3) for n in range(1024)]


@cache
def classes() -> list[int]:
    """Return the class of a mean magnitude in 1/256, up to 4095: four to every doubling."""
    table = []
    for x in range(4096):
        y, found = x + 4, 0
        while y >= 8:
            y >>= 1
            found += 4
        table.append(found + y - 4)
    return table


@cache
def costs() -> list[int]:
    """Return bits * 65536 by probability in 1/4096; for estimates only, never for decoding."""
    return [round(-math.log2((p + 0.5) / 4096) * 65536) for p in range(4097)]


def by_name() -> dict[str, list[int]]:
    """Return the tables by the names that kernels know them by."""
    return {
        "costs": costs(),
        "rates": rates(),
        "stretches": stretches(),
        "squashes": squashes(),
        "classes": classes(),
    }
