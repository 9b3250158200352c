"""Bits and speed of the entropy coder on rounded weights of nets: `python benchmarks/coding.py`.

Takes ONNX files as arguments (default: those of models/). Every matrix of weights is rounded in
five ways; printed are bits a weight, beside the entropy of levels counted matrix by matrix and
what Huffman codes take, and millions of weights a second of CPU time on one core, compiled (the
package numba must be there). Huffman codes are those of Deep Compression (Han et al., 2016): one
of the values that are not zero, one of the gaps between them, with fillers for gaps above 31; or
one of all values, where that is shorter. Tables of these codes are not counted.
"""

from __future__ import annotations

import heapq
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ocompress import load
from ocompress.coding import decode_integers, encode_integers
from ocompress.coding.engine import forced
from ocompress.coding.integers import steps_that_mix

MODELS = Path(__file__).parents[1] / "models"
LEAST = 4000
LONGEST_GAP = 31


def matrices(path: Path) -> Iterator[tuple[np.ndarray, int]]:
    """Yield weights as matrices [outputs, inputs], and the places of one kernel."""
    model = load(path)
    for _, node in model.nodes():
        if len(node.inputs) < 2 or node.op_type not in ("Conv", "Gemm", "MatMul"):
            continue
        array = node.inputs[1].data if node.inputs[1] is not None else None
        if array is None or array.ndim < 2 or array.size < LEAST:
            continue
        by_input = node.op_type == "MatMul" or not node.attributes.get("transB", 1)
        matrix = array.T if by_input and array.ndim == 2 else array
        inner = int(np.prod(matrix.shape[2:]))
        yield np.asarray(matrix.reshape(len(matrix), -1), np.float64), inner


def rounded(matrix: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Yield integers of a matrix under several steps."""
    deviation = matrix.std()
    for share in (1, 0.5, 0.25):
        yield f"step of {share:g} deviations", np.rint(matrix / (deviation * share))
    yield "int8, a scale to a row", np.rint(matrix / (np.abs(matrix).max(1, keepdims=True) / 127))
    kept = np.abs(matrix) > np.quantile(np.abs(matrix), 0.9)
    yield "a tenth kept, step 0.4", np.rint(np.where(kept, matrix, 0) / (deviation * 0.4))


def entropy(matrix: np.ndarray) -> float:
    """Return the bits of a matrix if each level is coded by its frequency."""
    _, counts = np.unique(matrix, return_counts=True)
    return float(-(counts * np.log2(counts / matrix.size)).sum())


def huffman_bits(symbols: np.ndarray) -> int:
    """Return the bits of symbols under a Huffman code of their own."""
    counts = np.unique(symbols, return_counts=True)[1].tolist()
    if len(counts) < 2:
        return int(symbols.size)
    heapq.heapify(counts)
    bits = 0
    while len(counts) > 1:
        both = heapq.heappop(counts) + heapq.heappop(counts)
        bits += both
        heapq.heappush(counts, both)
    return bits


def huffman(matrix: np.ndarray) -> int:
    """Return the bits of a matrix under Huffman codes, of all values or of values and gaps."""
    flat = matrix.reshape(-1)
    places = np.flatnonzero(flat)
    gaps = np.diff(places, prepend=-1) - 1
    fillers = gaps // (LONGEST_GAP + 1)
    values = np.concatenate([flat[places], np.zeros(fillers.sum(), flat.dtype)])
    whole = np.concatenate([gaps % (LONGEST_GAP + 1), np.full(fillers.sum(), LONGEST_GAP)])
    return min(huffman_bits(flat), huffman_bits(values) + huffman_bits(whole))


def main(paths: list[str]) -> None:
    """Print a table."""
    totals: dict[str, np.ndarray] = defaultdict(lambda: np.zeros(6))
    with forced(compiled=True):
        decode_integers(encode_integers(np.ones((2, 2), int)), (2, 2))
        for path in map(Path, paths):
            for matrix, inner in matrices(path):
                for name, values in rounded(matrix):
                    levels = values.astype(np.int64)
                    start = time.process_time()
                    code = encode_integers(levels, inner=inner)
                    middle = time.process_time()
                    mixed = steps_that_mix(levels)
                    again = decode_integers(code, levels.shape, inner=inner, mixed=mixed)
                    end = time.process_time()
                    assert (again == levels).all()
                    totals[name] += [
                        levels.size, 8 * len(code), entropy(levels), huffman(levels),
                        middle - start, end - middle,
                    ]  # fmt: skip
    speeds = f"{'encode M/s':>11} {'decode M/s':>11}"
    print(f"{'weights rounded to':26} {'bits':>7} {'entropy':>8} {'Huffman':>8} {speeds}")
    for name, (size, bits, least, codes, encode, decode) in totals.items():
        speeds = f"{size / encode / 1e6:11.1f} {size / decode / 1e6:11.1f}"
        print(f"{name:26} {bits / size:7.4f} {least / size:8.4f} {codes / size:8.4f} {speeds}")


if __name__ == "__main__":
    main(sys.argv[1:] or sorted(map(str, MODELS.glob("*.onnx"))))
