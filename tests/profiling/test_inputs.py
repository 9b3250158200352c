"""What models are run with."""

from __future__ import annotations

import numpy as np
import pytest

from ocompress.errors import DataError, OptionError
from ocompress.profiling import parse_shape
from ocompress.profiling.inputs import choose
from tests.build import InMemory
from tests.profiling.nets import mlp, several_inputs


def test_data_come_first() -> None:
    first = np.ones((7, 4), np.float32)
    feeds, (choice,) = choose(mlp(), InMemory([{"x": first}, {"x": first[:2]}]), {}, 0)
    assert feeds["x"] is first
    assert (choice.origin, choice.shape, choice.guessed) == ("data", (7, 4), ())


def test_guesses_are_named() -> None:
    feeds, choices = choose(several_inputs(), None, {}, 0)
    by_name = {c.name: c for c in choices}
    assert by_name["x"].guessed == ("n=1", "h=224", "w=224")
    assert by_name["ids"].guessed == ("n=1", "t=16")
    assert (by_name["s"].origin, by_name["s"].shape) == ("declared", ())
    assert [c.dtype for c in choices] == ["float", "float", "int64", "bool"]
    assert feeds["x"].shape == (1, 3, 224, 224)


def test_given_shapes_rule() -> None:
    feeds, choices = choose(several_inputs(), None, {"x": (2, 3, 5, 6), "ids": (2, 9)}, 0)
    assert feeds["x"].shape == (2, 3, 5, 6)
    assert [c.origin for c in choices] == ["given", "declared", "given", "guessed"]


def test_shapes_that_do_not_fit_are_named() -> None:
    with pytest.raises(DataError, match="contradicts"):
        choose(several_inputs(), None, {"x": (2, 4, 5, 6)}, 0)
    with pytest.raises(DataError, match="'z'"):
        choose(several_inputs(), None, {"z": (2,)}, 0)


def test_same_seed_same_numbers() -> None:
    one, two, other = (choose(mlp(), None, {}, seed)[0]["x"] for seed in (0, 0, 1))
    assert np.array_equal(one, two)
    assert not np.array_equal(one, other)


@pytest.mark.parametrize(
    ("text", "shape"),
    [
        ("x:1,3,224,224", ("x", (1, 3, 224, 224))),
        ("a:0:7", ("a:0", (7,))),
        ("s:", ("s", ())),
    ],
)
def test_shapes_are_parsed(text: str, shape: tuple[str, tuple[int, ...]]) -> None:
    assert parse_shape(text) == shape


@pytest.mark.parametrize("text", ["x", ":1,2", "x:1,a", "x:1,-1", "x:1.5"])
def test_bad_shapes_are_named(text: str) -> None:
    with pytest.raises(OptionError, match="not of the form name:1,3,224,224"):
        parse_shape(text)
