"""The comparer of all outputs: mutations, worst samples, swapped outputs."""

from __future__ import annotations

import numpy as np
import pytest

from ocompress.validation.comparison import MOST_WORST, Comparer
from ocompress.validation.result import OutputComparison
from tests.validation.nets import heads

RNG = np.random.default_rng(3)
A = RNG.standard_normal((20, 4)).astype(np.float32)
B = RNG.standard_normal((20, 4)).astype(np.float32)
Outputs = dict[str, np.ndarray]


def compare(
    reference: Outputs, candidate: Outputs, batch: int = 6, last: str = "", width: int = 4
) -> Comparer:
    comparer = Comparer(heads(*reference, last=last, width=width))
    for first in range(0, 20, batch):
        part = slice(first, min(first + batch, 20))
        cut = [{n: a[part] for n, a in o.items()} for o in (reference, candidate)]
        comparer.update(cut[0], cut[1], first, part.stop - first)
    return comparer


def share(output: OutputComparison) -> float:
    assert output.agreement is not None
    return output.agreement.value


def test_equal_models_agree() -> None:
    comparer = compare({"a": A, "b": B}, {"a": A.copy(), "b": B.copy()})
    assert [o.name for o in comparer.outputs()] == ["a", "b"]
    assert all(o.exact and share(o) == 1.0 for o in comparer.outputs())
    assert comparer.worst() == ()


def test_a_doubled_output_keeps_its_decisions_but_not_its_numbers() -> None:
    (output,) = compare({"a": A}, {"a": 2 * A}).outputs()
    assert share(output) == 1.0
    assert output.sqnr_db == pytest.approx(0.0, abs=1e-6)
    assert output.cosine == pytest.approx(1.0)


def test_swapped_outputs_are_noticed() -> None:
    for output in compare({"a": A, "b": B}, {"a": B, "b": A}).outputs():
        assert output.sqnr_db < 3
        assert share(output) < 0.7


def test_shifted_samples_are_noticed() -> None:
    (output,) = compare({"a": A}, {"a": np.roll(A, 1, axis=0)}).outputs()
    assert share(output) < 0.7


@pytest.mark.parametrize("batch", [1, 6, 20])
def test_one_wrong_sample_is_found(batch: int) -> None:
    wrong = A + np.float32(1e-4)
    wrong[13] = -wrong[13]
    comparer = compare({"a": A, "b": B}, {"a": wrong, "b": B}, batch)
    assert share(comparer.outputs()[0]) == pytest.approx(19 / 20)
    assert comparer.outputs()[0].worst_sample == 13
    worst = comparer.worst()
    assert (worst[0].index, worst[0].output, worst[0].agrees) == (13, "a", False)
    assert len(worst) == MOST_WORST
    assert [w.sqnr_db for w in worst] == sorted(w.sqnr_db for w in worst)


def test_one_probability_decides_if_it_goes_both_ways() -> None:
    both = RNG.random((20, 1)).astype(np.float32)
    (output,) = compare({"a": both}, {"a": 1 - both}, 20, "Sigmoid", 1).outputs()
    assert output.decision == "x > 0.5"
    assert share(output) == 0.0
    (output,) = compare({"a": both * 0.4}, {"a": both * 0.9}, 20, "Sigmoid", 1).outputs()
    assert (output.agreement, output.decision) == (None, "")
    assert output.loss is not None
    assert (output.loss.unit, output.loss.drop.value > 0.3) == ("error", True)


def test_what_decides_nothing_has_no_agreement() -> None:
    (output,) = compare({"a": A[:, :1]}, {"a": -A[:, :1]}, 20, "Tanh", 1).outputs()
    assert output.agreement is None
    assert output.loss is not None
    assert output.loss.drop.value == pytest.approx(
        4 * np.mean(A[:, 0] ** 2) / A[:, 0].var(ddof=1), rel=1e-5
    )


def test_a_missing_output_is_left_to_the_structure() -> None:
    assert [o.name for o in compare({"a": A, "b": B}, {"b": B}).outputs()] == ["b"]


def test_outputs_without_a_sample_axis_count_per_feed() -> None:
    comparer = Comparer(heads("s"))
    for first in (0, 4):
        comparer.update({"s": np.array([3, 4])}, {"s": np.array([3, 5])}, first, 4)
    (output,) = comparer.outputs()
    assert share(output) == 0.5
    assert output.loss is not None
    assert output.loss.count == 2
    assert output.max_abs_error == 1.0
    assert comparer.worst() == ()
