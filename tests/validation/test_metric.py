"""The user's own metric: loading, and what it may return."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ocompress.errors import DataError, UsageError
from ocompress.validation import Metric


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("nothing", "not of the form module:function"),
        ("a:", "not of the form"),
        ("no_such_module:f", "there is no module 'no_such_module'"),
        ("math:no_such", "has nothing named 'no_such'"),
        ("math:pi", "no function named 'pi'"),
        ("broken_metric:f", "does not import: NameError"),
        ("needy_metric:f", "does not import: No module named 'absent_dependency'"),
    ],
)
def test_loading_says_what_is_wrong(
    spec: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken_metric.py").write_text("undefined_name\n")
    (tmp_path / "needy_metric.py").write_text("import absent_dependency\n")
    with pytest.raises(UsageError) as caught:
        Metric.load(spec)
    assert words in str(caught.value)


def test_modules_of_the_working_directory_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own_metric_here.py").write_text("def f(outputs, labels, feeds): return 0.25\n")
    metric = Metric.load("own_metric_here:f")
    assert metric.score({}, None, {}, 3).tolist() == [0.25]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "returned NoneType"),
        ("high", "returned str"),
        (np.zeros(2), "an array of shape [2]"),
        (float("nan"), "not finite"),
        ({"a": 1}, "returned dict"),
    ],
)
def test_wrong_returns_are_named(value: Any, words: str) -> None:
    with pytest.raises(DataError) as caught:
        Metric("m:f", lambda *_: value).score({}, None, {}, 3)
    assert words in str(caught.value)


def test_one_per_sample_or_one() -> None:
    assert Metric("m", lambda *_: [1, 0, 1]).score({}, None, {}, 3).tolist() == [1, 0, 1]
    assert Metric("m", lambda *_: np.float32(0.5)).score({}, None, {}, 3).tolist() == [0.5]


def test_a_failing_function_is_named() -> None:
    def fail(*_: Any) -> float:
        raise KeyError("logits")

    with pytest.raises(DataError, match="metric 'm:f' failed with KeyError: 'logits'"):
        Metric("m:f", fail).score({}, None, {}, 3)
