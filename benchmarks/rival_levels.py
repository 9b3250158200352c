"""Bytes that NNCodec's coder (pip install nncodec==2.1.3) takes for the integers of a file.

    PYTHON benchmarks/rival_levels.py LEVELS.npz

Each matrix [rows, columns] is coded by itself, under every length of its unary code that is worth a
try, with and without tuned rates of adaptation; the shortest counts. No header is counted.
"""

from __future__ import annotations

import sys

import numpy as np

UNARY = (1, 2, 4, 7, 11, 17)


def shortest(levels: np.ndarray) -> int:
    """Return the bytes of the shortest code of integers [rows, columns]."""
    from nncodec.extensions import deepCABAC

    sizes = []
    skipped = np.zeros(len(levels), np.int32)
    off = (deepCABAC.HdspMode.AlwaysOff, np.zeros(2, np.int8))
    for unary in UNARY:
        for tuned in (0, 1):
            encoder = deepCABAC.Encoder()
            encoder.initCtxModels(unary, tuned)
            encoder.encodeLayer(levels.astype(np.int32), 0, 0, 0, 0, 0, skipped, *off, 0, 0)
            sizes.append(len(encoder.finish().tobytes()))
    return min(sizes)


def main() -> None:
    """Print the sum."""
    with np.load(sys.argv[1]) as held:
        print(sum(shortest(held[name]) for name in held.files))


if __name__ == "__main__":
    main()
