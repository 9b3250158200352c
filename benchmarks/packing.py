"""What packed weights cost beside plain ones: bytes, processor time to load and run (medians).

python benchmarks/packing.py [WORDS ...]    # only rows that have one of these words
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

import ocompress
from ocompress.archive.fastfood_rounding import COLUMN_BITS, few_bits, room, whole
from ocompress.archive.tied_places import buckets_of, diagonals
from passes.storage.random_numbers import bells

LAYERS, WIDTH, ROUNDS = 12, 1024, 7


def palette(count: int, width: int = 1) -> Callable[[np.random.Generator], np.ndarray]:
    """Return what draws weights of so many words of so many values."""

    def draw(rng: np.random.Generator) -> np.ndarray:
        words = rng.standard_normal((count, width)).astype(np.float32)
        return words[rng.integers(0, count, WIDTH * WIDTH // width)].reshape(WIDTH, WIDTH)

    return draw


def sparse(share: float, count: int = 15) -> Callable[[np.random.Generator], np.ndarray]:
    """Return what draws weights of which a share is not zero but one of so many values."""

    def draw(rng: np.random.Generator) -> np.ndarray:
        return np.where(rng.random((WIDTH, WIDTH)) < share, palette(count)(rng), np.float32(0))

    return draw


def halves(rng: np.random.Generator) -> np.ndarray:
    """Draw weights that are exact in float16."""
    return rng.standard_normal((WIDTH, WIDTH)).astype(np.float16).astype(np.float32)


def scales(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Draw numbers that are exact in float16."""
    return rng.uniform(0.5, 2, shape).astype(np.float16).astype(np.float32)


def planes(count: int, *, columns: bool = False) -> Callable[[np.random.Generator], np.ndarray]:
    """Return what draws sums of signs, each times a number of the column."""

    def draw(rng: np.random.Generator) -> np.ndarray:
        total = np.zeros((WIDTH, WIDTH), np.float32)
        for at in range(count):
            total += rng.choice(np.float32([-1, 1]), total.shape) * scales(rng, WIDTH) / 2**at
        return total * rng.choice(np.float32([0.5, 1, 2]), (WIDTH, 1)) if columns else total

    return draw


def ternary(rng: np.random.Generator) -> np.ndarray:
    """Draw signs or zeros, times a number of the column."""
    return rng.choice(np.float32([-1, 0, 1]), (WIDTH, WIDTH)) * scales(rng, WIDTH)


def random_words(rng: np.random.Generator) -> np.ndarray:
    """Draw words of eight values that are counted out, times a number of the column."""
    words = bells(8 << 8).reshape(-1, 8).astype(np.float32)
    return words[rng.integers(0, 256, WIDTH * WIDTH // 8)].reshape(WIDTH, WIDTH) * scales(
        rng, WIDTH
    )


def hashed(rng: np.random.Generator) -> np.ndarray:
    """Draw numbers that four weights share by a hash of their place."""
    buckets, negated = buckets_of(WIDTH * WIDTH, WIDTH * WIDTH // 4)
    values = scales(rng, WIDTH * WIDTH // 4)[buckets]
    return np.where(negated, -values, values).reshape(WIDTH, WIDTH)


def circulant(rng: np.random.Generator) -> np.ndarray:
    """Draw circulant blocks of four rows."""
    return scales(rng, WIDTH * WIDTH // 4)[diagonals(WIDTH, WIDTH, 4)]


def fastfood(rng: np.random.Generator) -> np.ndarray:
    """Draw diagonals of Fastfood blocks of four rows."""
    rows, columns = few_bits(rng.standard_normal((2, WIDTH)) / 64, COLUMN_BITS)
    numbers = rng.standard_normal((WIDTH // 4, WIDTH // 4, 4))
    numbers *= room(numbers, WIDTH, WIDTH)[:, None, None]
    return whole(rows, numbers, columns).matrix


CASES = {
    "palette of 16 values": palette(16),
    "palette of 8 values": palette(8),
    "palette of 256 values": palette(256),
    "blocks of 8 values, 256 of them": palette(256, 8),
    "exact in float16": halves,
    "nine in ten zero, palette of 16 values": sparse(0.1),
    "eight in ten zero, palette of 16 values": sparse(0.2),
    "seven in ten zero, palette of 16 values": sparse(0.3),
    "six in ten zero, palette of 16 values": sparse(0.4),
    "seven in ten zero, palette of 8 values": sparse(0.3, 7),
    "six in ten zero, palette of 4 values": sparse(0.4, 3),
    "seven in ten zero, any values": sparse(0.3, 1 << 20),
    "a plane of signs": planes(1),
    "a plane of signs, numbers of rows and columns": planes(1, columns=True),
    "three planes of signs": planes(3),
    "signs or zeros": ternary,
    "random words of 8 values, 8 bits": random_words,
    "hashed, 4 weights a number": hashed,
    "circulant blocks of 4": circulant,
    "fastfood blocks of 4": fastfood,
}


def net(draw: Callable[[np.random.Generator], np.ndarray], path: Path) -> None:
    """Write a chain of products."""
    rng = np.random.default_rng(0)
    nodes, weights = [], []
    for at in range(LAYERS):
        weights.append(numpy_helper.from_array(draw(rng), f"w{at}"))
        nodes.append(helper.make_node("MatMul", [f"x{at}", f"w{at}"], [f"h{at}"], f"product{at}"))
        nodes.append(helper.make_node("Relu", [f"h{at}"], [f"x{at + 1}"], f"relu{at}"))
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", WIDTH])
        for name in ("x0", f"x{LAYERS}")
    ]
    graph = helper.make_graph(nodes, "net", ends[:1], ends[1:], weights)
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)


def times(path: Path) -> tuple[float, float]:
    """Return the processor time of a load and of a run, in milliseconds."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    start = time.process_time()
    session = ort.InferenceSession(path, options)
    loaded = time.process_time()
    x = {"x0": np.ones((1, WIDTH), np.float32)}
    runs = []
    for _ in range(20):
        begin = time.process_time()
        session.run(None, x)
        runs.append(time.process_time() - begin)
    return 1e3 * (loaded - start), 1e3 * statistics.median(runs)


def main() -> None:
    """Print the table."""
    print("| weights | size | loading, plain to packed | running |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        plain, packed = Path(folder) / "plain.onnx", Path(folder) / "packed.onnx"
        for name, draw in CASES.items():
            if sys.argv[1:] and not any(word in name for word in sys.argv[1:]):
                continue
            net(draw, plain)
            ocompress.optimize(plain, packed, storage="packed", measure=False)
            rounds = [(*times(plain), *times(packed)) for _ in range(ROUNDS)]  # in turns
            load, run, packed_load, packed_run = (
                statistics.median(column) for column in zip(*rounds, strict=True)
            )
            size = packed.stat().st_size / plain.stat().st_size
            times_as_long = f"{load:.0f} to {packed_load:.0f} ms, {packed_load / load:.1f} times"
            print(f"| {name} | {size:.3f} | {times_as_long} | {packed_run / run:.2f} |")


if __name__ == "__main__":
    main()
