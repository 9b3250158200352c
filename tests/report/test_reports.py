"""Reports: JSON that parses anywhere, JUnit that CI systems read, numbers as people read them."""

from __future__ import annotations

import json
from xml.etree import ElementTree as ET

import pytest

from ocompress import __version__
from ocompress.analysis.cost import Cost
from ocompress.report import SCHEMA, document, junit, to_text
from ocompress.report.figures import (
    byte_text,
    count_text,
    db_text,
    macs_text,
    ratio_text,
    share_text,
)
from ocompress.validation import Check, Interval


def test_document_says_who_wrote_what() -> None:
    report = json.loads(to_text(document("profile", {"model": "a.onnx"}, {"bytes": 3})))
    assert list(report) == ["schema", "tool", "command", "settings", "bytes"]
    assert report["schema"] == SCHEMA == 2
    assert report["tool"] == {"name": "ocompress", "version": __version__}


def test_numbers_that_json_lacks_are_null() -> None:
    report = {"ratio": float("nan"), "details": {"held_out": [float("inf"), 1.0]}}
    assert json.loads(to_text(report)) == {"ratio": None, "details": {"held_out": [None, 1.0]}}


def test_junit_counts_and_names_failures() -> None:
    checks = [
        Check("checker", True, message="fine"),
        Check("min_sqnr_db[<y>]", False, 30.0, 12.5, 'too "low" & wrong'),
    ]
    root = ET.fromstring(junit("out.onnx", checks))
    suite = root.find("testsuite")
    assert suite is not None
    assert (suite.get("name"), suite.get("tests"), suite.get("failures")) == ("out.onnx", "2", "1")
    good, bad = suite.findall("testcase")
    assert good.find("failure") is None
    failure = bad.find("failure")
    assert failure is not None
    assert bad.get("name") == "min_sqnr_db[<y>]"
    assert failure.get("message") == 'too "low" & wrong'
    assert failure.text == "limit 30.0, found 12.5"


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1 kB"), (999_499, "999 kB"), (999_500, "1 MB"),
     (1_726_152, "1.73 MB"), (3_221_225_472, "3.22 GB")],
)  # fmt: skip
def test_bytes_are_decimal(count: int, text: str) -> None:
    assert byte_text(count) == text


def test_other_figures() -> None:
    assert count_text(431_080) == "431 k"
    assert count_text(12) == "12"
    assert macs_text(Cost(1, 1, macs={"Conv": 2000})) == "2 k"
    assert macs_text(Cost(1, 1, macs={"Conv": 2000}, unknown=("a",))) == ">= 2 k"
    assert macs_text(Cost(1, 1, unknown=("a",))) == "not known"
    assert ratio_text(4, 1) == "0.250"
    assert ratio_text(0, 1) == ""
    assert db_text(float("inf")) == "exact"
    assert db_text(float("-inf")) == "-inf dB"
    assert db_text(21.64) == "21.6 dB"
    assert share_text(Interval(0.9971, 0.9914, 0.999, "wilson")) == "99.71 % (99.14-99.90)"
