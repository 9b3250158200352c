"""Error figures against direct formulas, and mutations that must not go unnoticed."""

from __future__ import annotations

import math
from collections.abc import Callable

import ml_dtypes
import numpy as np
import pytest

from ocompress.analysis.running import Running, sqnr_db
from ocompress.validation.numeric import NumericSum

RNG = np.random.default_rng(0)
CLEAN = RNG.standard_normal((12, 5)).astype(np.float32)


def compare(reference: np.ndarray, candidate: np.ndarray, batch: int = 5) -> NumericSum:
    total = NumericSum()
    for first in range(0, len(reference), batch):
        a, b = reference[first : first + batch], candidate[first : first + batch]
        total.update(a, b, first, len(a))
    return total


def test_figures_follow_their_formulas() -> None:
    other = CLEAN + 0.01 * RNG.standard_normal(CLEAN.shape).astype(np.float32)
    figures = compare(CLEAN, other).figures()
    x, y = CLEAN.astype(np.float64), other.astype(np.float64)
    error = x - y
    assert figures["sqnr_db"] == pytest.approx(10 * math.log10((x**2).sum() / (error**2).sum()))
    assert figures["max_abs_error"] == pytest.approx(np.abs(error).max())
    assert figures["mean_abs_error"] == pytest.approx(np.abs(error).mean())
    assert figures["relative_error"] == pytest.approx(np.abs(error).mean() / np.abs(x).mean())
    cosine = (x * y).sum() / np.sqrt((x**2).sum() * (y**2).sum())
    assert figures["cosine"] == pytest.approx(cosine)


def test_batches_do_not_matter() -> None:
    other = CLEAN * 1.01
    one, many = compare(CLEAN, other, 12).figures(), compare(CLEAN, other, 1).figures()
    assert one == pytest.approx(many)


def test_equal_is_exact() -> None:
    total = compare(CLEAN, CLEAN.copy())
    assert total.exact
    assert total.figures()["sqnr_db"] == math.inf
    assert total.worst == (None, math.inf)


def one_nan(array: np.ndarray) -> np.ndarray:
    changed = array.copy()
    changed[7, 2] = np.nan
    return changed


def one_infinity(array: np.ndarray) -> np.ndarray:
    changed = array.copy()
    changed[7, 2] = np.inf
    return changed


def one_sample(array: np.ndarray) -> np.ndarray:
    changed = array.copy()
    changed[7] = -changed[7]
    return changed


Mutation = Callable[[np.ndarray], np.ndarray]
MUTATIONS: list[Mutation] = [
    lambda a: a * 2,
    lambda a: -a,
    lambda a: np.roll(a, 1, axis=0),
    lambda a: a[:, ::-1],
    np.zeros_like,
    one_nan,
    one_infinity,
    one_sample,
]


@pytest.mark.parametrize("mutate", MUTATIONS)
def test_a_mutation_is_noticed(mutate: Mutation) -> None:
    total = compare(CLEAN, mutate(CLEAN))
    assert not total.exact
    assert total.figures()["sqnr_db"] < 15
    assert total.figures()["max_abs_error"] > 0.5


@pytest.mark.parametrize("mutate", [one_nan, one_infinity, one_sample])
def test_the_worst_sample_is_found(mutate: Mutation) -> None:
    assert compare(CLEAN, mutate(CLEAN) * np.float32(1.0001)).worst[0] == 7


def test_one_nan_is_an_infinite_error() -> None:
    total = compare(CLEAN, one_nan(CLEAN))
    assert total.new_nonfinite == 1
    assert total.figures() == {
        "sqnr_db": -math.inf,
        "max_abs_error": math.inf,
        "mean_abs_error": math.inf,
        "relative_error": math.inf,
        "cosine": 0.0,
    }


@pytest.mark.parametrize("mutate", [one_nan, one_infinity])
def test_what_is_not_finite_in_both_is_equal(mutate: Mutation) -> None:
    total = compare(mutate(CLEAN), mutate(CLEAN))
    assert total.exact
    assert total.figures()["sqnr_db"] == math.inf
    assert (total.new_nonfinite, total.changed_nonfinite) == (0, 0)
    assert total.compared == CLEAN.size - 1
    noisy = compare(mutate(CLEAN), mutate(CLEAN * np.float32(1.01)))
    assert noisy.figures()["sqnr_db"] == pytest.approx(40, abs=0.1)


@pytest.mark.parametrize("value", [0.0, -np.inf, np.inf])
def test_nan_that_became_something_else_is_an_infinite_error(value: float) -> None:
    other = CLEAN.copy()
    other[7, 2] = value
    total = compare(one_nan(CLEAN), other)
    assert not total.exact
    assert (total.new_nonfinite, total.changed_nonfinite) == (0, 1)
    assert total.figures()["sqnr_db"] == -math.inf
    assert total.worst[0] == 7


def test_infinities_have_signs() -> None:
    assert compare(one_infinity(CLEAN), -one_infinity(-CLEAN)).changed_nonfinite == 1


def test_nothing_finite_is_nothing_compared() -> None:
    nothing = np.full_like(CLEAN, np.nan)
    total = compare(nothing, nothing.copy())
    assert total.exact
    assert total.compared == 0


def test_another_shape_is_an_infinite_error() -> None:
    total = NumericSum()
    total.update(CLEAN, CLEAN[:, :4], 0, 12)
    assert total.shape_changes == 1
    assert total.figures()["sqnr_db"] == -math.inf


@pytest.mark.parametrize("dtype", [np.float16, np.float64, ml_dtypes.bfloat16, np.int8, np.bool_])
def test_element_types(dtype: type) -> None:
    values: np.ndarray = np.array([[0, 1, 2], [3, 1, 0]]).astype(dtype)
    wrong = values.copy()
    wrong[1, 2] = 1
    assert compare(values, values.copy()).exact
    assert compare(values, wrong).different == 1
    assert compare(values, wrong).figures()["max_abs_error"] == 1


def test_complex_numbers_and_text() -> None:
    z = np.array([[1 + 2j]])
    assert compare(z, np.conj(z)).figures()["max_abs_error"] == 4
    words = np.array([["a"], ["b"]], object)
    assert compare(words, words.copy()).exact
    assert compare(words, words[::-1]).different == 2


def test_scalars_and_nothing() -> None:
    total = NumericSum()
    total.update(np.array(2.0), np.array(3.0), 0, 4)
    total.update(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.float32), 4, 0)
    assert total.figures()["max_abs_error"] == 1


def test_unit_range_belongs_to_the_reference() -> None:
    assert compare(np.array([[0.0], [1.0]]), np.array([[2.0], [-1.0]])).within_unit
    assert not compare(np.array([[0.0], [1.5]]), np.array([[0.0], [1.0]])).within_unit


def test_decibels_at_the_ends() -> None:
    assert sqnr_db(1, 0) == math.inf
    assert sqnr_db(0, 1) == -math.inf
    assert sqnr_db(100, 1) == pytest.approx(20)
    assert sqnr_db(1, math.nan) == sqnr_db(1, math.inf) == -math.inf


def test_running_figures_are_those_of_all_finite_values() -> None:
    running = Running()
    assert (running.variance, running.mean_square) == (0.0, 0.0)
    parts = [np.array([1.0, 4.0, np.nan]), np.array([[2.0, np.inf], [9.0, -1.0]])]
    for part in parts:
        running.update(part.astype(np.float16))
    every = np.array([1.0, 4.0, 2.0, 9.0, -1.0])
    assert running.variance == pytest.approx(every.var())
    assert running.mean_square == pytest.approx(np.square(every).mean())
    assert running.count == 5
