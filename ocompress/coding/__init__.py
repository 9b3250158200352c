"""Entropy coding with integers only: the same bytes on every machine, with numba and without."""

from ocompress.coding.integers import code_bits, decode_integers, encode_integers, symbol_bits
from ocompress.coding.levels import LevelRates, level_bits

__all__ = [
    "LevelRates",
    "code_bits",
    "decode_integers",
    "encode_integers",
    "level_bits",
    "symbol_bits",
]
