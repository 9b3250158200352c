"""Bits and speed of the entropy coder on rounded weights of nets: `python benchmarks/coding.py`.

Takes ONNX files as arguments (default: those of models/), and `--rival PYTHON` for the bits that
NNCodec's coder takes for the same integers, PYTHON being one that has it. Every matrix of weights
is rounded in five ways; printed are bits a weight, beside the entropy of levels counted matrix by
matrix and what Huffman codes take, and millions of weights a second of CPU time on one core,
compiled (the package numba must be there) and in C (gcc must be there; the median of five runs).
Huffman codes are those of Deep Compression (Han et al., 2016): one of the values that are not zero,
one of the gaps between them, with fillers for gaps above 31; or one of all values, where that is
shorter. Tables of these codes are not counted.
"""

from __future__ import annotations

import argparse
import heapq
import statistics
import struct
import subprocess
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ocompress import load
from ocompress.coding import decode_integers, encode_integers
from ocompress.coding.engine import forced
from ocompress.coding.integers import steps_that_mix

ROOT = Path(__file__).parents[1]
MODELS = ROOT / "models"
RUNS = 5
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
    largest = np.abs(matrix).max(1, keepdims=True)
    yield "int8, a scale to a row", np.rint(matrix / np.where(largest, largest / 127, 1))
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


def in_c(codes: bytes, total: int, folder: Path) -> float:
    """Return the seconds that the C decoder takes for codes with their shapes in front."""
    program, source = folder / "coding", folder / "codes"
    if not program.exists():
        command = ["gcc", "-O3", "-I", ROOT / "decoder", ROOT / "benchmarks/coding.c"]
        subprocess.run([*command, "-o", program], check=True)
    source.write_bytes(codes)
    seconds = []
    for _ in range(RUNS):
        done = subprocess.run([program, source], capture_output=True, text=True, check=True)
        spent, found = done.stdout.split()
        assert int(found) == total
        seconds.append(float(spent))
    return statistics.median(seconds)


def of_rival(python: str, levels: list[np.ndarray], folder: Path) -> float:
    """Return the bits that NNCodec takes for matrices."""
    np.savez(folder / "levels.npz", *levels)
    script = ROOT / "benchmarks/rival_levels.py"
    command = [python, script, folder / "levels.npz"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return 8 * float(done.stdout)


def main(paths: list[str], rival: str | None) -> None:
    """Print a table."""
    totals: dict[str, np.ndarray] = defaultdict(lambda: np.zeros(6))
    codes: dict[str, bytearray] = defaultdict(bytearray)
    held: dict[str, list[np.ndarray]] = defaultdict(list)
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
                    codes[name] += struct.pack("<5Q", *levels.shape, inner, mixed, len(code)) + code
                    held[name].append(levels)
    heads = ("bits", "entropy", "Huffman", "NNCodec", "encode M/s", "decode M/s", "in C, M/s")
    print(f"{'weights rounded to':26}", *(f"{head:>10}" for head in heads))
    with tempfile.TemporaryDirectory() as there:
        folder = Path(there)
        for name, (size, *bits, encode, decode) in totals.items():
            c = in_c(bytes(codes[name]), sum(int(m.sum()) for m in held[name]), folder)
            bits.append(of_rival(rival, held[name], folder) if rival else np.nan)
            speeds = " ".join(f"{size / spent / 1e6:10.1f}" for spent in (encode, decode, c))
            print(f"{name:26}", *(f"{b / size:10.4f}" for b in bits), speeds, flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", default=sorted(map(str, MODELS.glob("*.onnx"))))
    parser.add_argument("--rival", help="a Python that has nncodec")
    given = parser.parse_args()
    main(given.models, given.rival)
