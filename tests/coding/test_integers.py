from __future__ import annotations

import importlib.util
import subprocess
import sys

import numpy as np
import pytest

from ocompress.coding import code_bits, decode_integers, encode_integers, engine, symbol_bits
from ocompress.coding.engine import forced
from ocompress.coding.integers import LARGEST, MOST_MIXED

BOTH = [
    False,
    pytest.param(
        True,
        marks=pytest.mark.skipif(
            importlib.util.find_spec("numba") is None, reason="numba is not installed"
        ),
    ),
]


def laplace(seed: int, shape: tuple[int, int], scale: float) -> np.ndarray:
    return np.rint(np.random.default_rng(seed).laplace(0, scale, shape)).astype(np.int64)


MATRICES = {
    "sparse": laplace(0, (12, 30), 0.3),
    "wide": laplace(1, (9, 20), 40.0),
    "extremes": np.array([[0, LARGEST, -LARGEST], [1, -1, 1 << 20]]),
    "zeros": np.zeros((5, 8), np.int8),
    "ones": np.ones((7, 6), np.uint8),
    "one": np.array([[-3]], np.int16),
    "no rows": np.zeros((0, 4), np.int32),
    "no columns": np.zeros((4, 0), np.int32),
}


@pytest.mark.parametrize("compiled", BOTH)
@pytest.mark.parametrize("mixed", [1, MOST_MIXED])
@pytest.mark.parametrize("inner", [1, 3])
@pytest.mark.parametrize("name", MATRICES)
def test_a_matrix_comes_back(name: str, inner: int, mixed: int, compiled: bool) -> None:
    matrix = MATRICES[name]
    with forced(compiled=compiled):
        code = encode_integers(matrix, inner=inner, mixed=mixed)
        back = decode_integers(code, matrix.shape, inner=inner, mixed=mixed)
        bits = symbol_bits(matrix, inner=inner, mixed=mixed)
    assert back.dtype == np.int32
    np.testing.assert_array_equal(back, matrix)
    assert bits.shape == matrix.shape
    assert 8 * len(code) <= bits.sum() * 1.01 + 16


@pytest.mark.skipif(importlib.util.find_spec("numba") is None, reason="numba is not installed")
@pytest.mark.parametrize("name", MATRICES)
def test_numba_and_python_write_the_same_bytes(name: str) -> None:
    codes, bits = [], []
    for compiled in (False, True):
        with forced(compiled=compiled):
            codes.append(encode_integers(MATRICES[name], inner=2))
            bits.append(code_bits(MATRICES[name], inner=2))
    assert codes[0] == codes[1]
    assert bits[0] == bits[1]


def test_dead_columns_cost_next_to_nothing() -> None:
    live = laplace(2, (60, 40), 1.0)
    matrix = live * (np.arange(40) % 4 == 0)
    alone = code_bits(live[:, ::4])
    assert code_bits(matrix) < alone * 1.15 + 300
    per_column = symbol_bits(matrix).mean(axis=0)
    assert per_column[1::4].max() < 0.25 < 1.0 < per_column[::4].min()


def test_repeated_rows_and_large_rows_are_noticed() -> None:
    scales = np.repeat([0.2, 8.0], 40)[:, None]
    mixed_up = np.rint(np.random.default_rng(3).laplace(0, 1, (80, 60)) * scales).astype(int)
    _, counts = np.unique(mixed_up, return_counts=True)
    entropy = -(counts * np.log2(counts / counts.sum())).sum()
    assert code_bits(mixed_up) < 0.93 * entropy


@pytest.mark.parametrize("wrong", [
    np.array([[LARGEST + 1]]), np.array([1, 2]), np.array([[0.5]]),
])  # fmt: skip
def test_what_cannot_be_coded_is_refused(wrong: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"matrix of integers|above"):
        encode_integers(wrong)


def test_nothing_imports_numba_before_it_is_needed() -> None:
    code = (
        "import sys, numpy; from ocompress import coding;"
        "coding.encode_integers(numpy.ones((3, 3), int)); assert 'numba' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.skipif(importlib.util.find_spec("numba") is None, reason="numba is not installed")
def test_what_numba_keeps_is_of_all_kernels() -> None:
    """Else a change in one file would leave code of others that it is inlined into."""
    functions = engine._compiled().functions
    stamps = {f._cache._cache_file._source_stamp for f in functions.values()}  # type: ignore[attr-defined]
    assert stamps == {engine.sources_stamp()}
