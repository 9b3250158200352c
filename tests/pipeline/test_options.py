from __future__ import annotations

from typing import Any

import pytest

from ocompress.errors import OptionError
from ocompress.pipeline.textform import format_pass, parse
from tests.pipeline.passes import Scale


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("a", [("a", {})]),
        ("a,b-c", [("a", {}), ("b-c", {})]),
        (" a{ x=1  y=two } , b{}", [("a", {"x": "1", "y": "two"}), ("b", {})]),
        ("a{x=1,y=2}", [("a", {"x": "1", "y": "2"})]),
        ("a{x=[p/*,q]}", [("a", {"x": ["p/*", "q"]})]),
        ("a{t={w=0.5,v=1}}", [("a", {"t": {"w": "0.5", "v": "1"}})]),
        ('a{x="p, {q}\\"" y=[]}', [("a", {"x": 'p, {q}"', "y": []})]),
    ],
)
def test_parse(text: str, expected: list[tuple[str, dict[str, Any]]]) -> None:
    assert parse(text) == expected


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("a{x}", "expected '=' after option 'x' at '}'"),
        ("a{b=1,x,y}", "after option 'x' at ',y}'; a list is written b=[1,x]"),
        ("a{x=1", "expected an option name or '}' at the end"),
        ("a b", "expected ',' between passes at 'b'"),
        (",a", "expected a pass name at ',a'"),
        ("a{x=}", "expected a value at '}'"),
        ("a{x=1 x=2}", "option 'x' is given twice"),
        ("a{x={y={z=1}}}", "expected a value at '{z=1}}}'"),
    ],
)
def test_bad_text_says_where(text: str, wanted: str) -> None:
    with pytest.raises(OptionError) as caught:
        parse(text)
    assert wanted in str(caught.value)


def test_what_is_a_list_already_needs_no_brackets() -> None:
    with pytest.raises(OptionError) as caught:
        parse("a{b=[1] x}")
    assert "a list" not in str(caught.value)


def test_values_are_converted_and_round_trip() -> None:
    given = {
        "by": "0.25",
        "only": ["a b", "c"],
        "table": {"/w.1": "3"},
        "mode": "first",
        "limit": "4",
        "loud": "yes",
    }
    item = Scale.from_options(given)
    expected = Scale(
        by=0.25, only=("a b", "c"), table={"/w.1": 3.0}, mode="first", limit=4, loud=True
    )
    assert item == expected
    [(name, again)] = parse(format_pass(item))
    assert name == "scale"
    assert Scale.from_options(again) == item


def test_defaults_are_left_out_of_the_text() -> None:
    assert format_pass(Scale()) == "scale"
    assert format_pass(Scale(by=3)) == "scale{by=3}"
    assert Scale.from_options({"limit": "none"}) == Scale()


def test_dashes_and_underscores_are_the_same() -> None:
    assert Scale.from_options({"lou-d".replace("-", ""): True}).loud


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({"bye": 1}, "scale has no option 'bye'; did you mean 'by'?"),
        ({"by": "much"}, "scale: by='much' is not a float"),
        ({"by": 101}, "scale: by=101.0 is outside 0..100"),
        ({"by": "nan"}, "scale: by=nan is outside 0..100"),
        ({"mode": "frist"}, "is not one of all, first; did you mean 'first'?"),
        ({"limit": "1.5"}, "limit='1.5' is not a int or none"),
        ({"limit": 1.5}, "limit=1.5 is not a int or none"),
        ({"loud": "perhaps"}, "loud='perhaps' is not a bool"),
        ({"table": "x"}, "table='x' is not a table"),
        ({"by": True}, "by=True is not a float"),
        ({"by": 10**400}, "000 is not a float"),
        ({"limit": float("inf")}, "limit=inf is not a int or none"),
    ],
)
def test_bad_options_say_what_is_allowed(given: dict[str, Any], wanted: str) -> None:
    with pytest.raises(OptionError) as caught:
        Scale.from_options(given)
    assert wanted in str(caught.value)
