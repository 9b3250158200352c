"""Gate files: parsing, errors, judging."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from ocompress.errors import RecipeError
from ocompress.validation import Check, Footprint, Gate, LossUnit, gating, validate
from ocompress.validation.unit_limits import DropLimit
from tests.validation.nets import after, classifier, data


def test_every_key_is_read(tmp_path: Path) -> None:
    file = tmp_path / "gate.toml"
    file.write_text(
        'min_sqnr_db = 30\nmax_drop = 0.01\nallowed_domains = ["com.microsoft"]\nmin_opset = 13\n'
        "[outputs.y0]\nmin_cosine = 0.9\n"
    )
    gate = Gate.load(file)
    assert gate.min_sqnr_db == 30.0
    assert gate.allowed_domains == ("com.microsoft",)
    assert gate.min_opset == 13
    assert gate.limit("min_cosine", "y0") == 0.9
    assert gate.limit("min_cosine", "y1") is None
    assert gate.limit("min_sqnr_db", "y0") == 30.0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("min_sqnr = 3", "did you mean 'min_sqnr_db'"),
        ("max-drop = 3", "did you mean 'max_drop'"),
        ("source = 'x'", "unknown key 'source'"),
        ("min_sqnr_db = 'high'", "min_sqnr_db must be a number, not 'high'"),
        ("max_drop = true", "max_drop must be a number"),
        ("max_drop = nan", "max_drop must be a number"),
        ("min_opset = 13.5", "min_opset must be a whole number"),
        ("allowed_domains = 'x'", "allowed_domains must be a list of texts"),
        ("outputs = 3", "outputs must be a table of tables"),
        ("[outputs.y]\nmax_drop = 3", "unknown key 'max_drop'"),
        ("[outputs.y]\nmin_cosin = 3", "did you mean 'min_cosine'"),
        ("[outputs.y]\nmin_cosine = []", "outputs.y.min_cosine must be a number"),
        ("min_agreement = 98", "min_agreement must be within 0 to 1, not 98"),
        ("[outputs.y]\nmin_cosine = 2", "outputs.y.min_cosine must be within -1 to 1"),
        ("min_opset = 20\nmax_opset = 13", "min_opset 20 is above max_opset 13"),
        ("min_sqnr_db =", "is not TOML"),
        ("", "sets no limit, so everything would pass; set at least one, such as min_agr"),
        ("# max_drop = 0.01", "sets no limit"),
        ("[outputs.y]", "sets no limit"),
        ("max_byte = 3", "did you mean 'max_bytes'"),
        ("max_latency = 3", "did you mean 'max_latency_ms'"),
        ("max_bytes = 0", "max_bytes must be a number of bytes above 0"),
        ("max_bytes = '4 mb'", 'or text with a unit such as "4 MB" or "4 MiB", not \'4 mb\''),
        ("max_memory = true", "max_memory must be a number of bytes"),
        ("max_memory = inf", "max_memory must be a number of bytes"),
        ("max_latency_ms = -1", "max_latency_ms must be within 0 to inf"),
        (f"min_sqnr_db = {'9' * 400}", "min_sqnr_db must be a number, not 999"),
        (f"min_sqnr_db = {'9' * 5000}", "is not TOML"),
        (f"max_bytes = {'9' * 400}", "max_bytes must be a number of bytes"),
        (f"max_memory = {1 << 63}", "max_memory must be a number of bytes"),
        (f"min_opset = -{'9' * 400}", "min_opset must be a whole number"),
        (f"outputs = {'[' * 5000}", "is not TOML"),
    ],
)
def test_bad_files_are_named(text: str, words: str) -> None:
    with pytest.raises(RecipeError) as caught:
        Gate.parse(text, "g.toml")
    assert words in str(caught.value)
    assert "'g.toml'" in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="cannot be read: No such file"):
        Gate.load(tmp_path / "none.toml")


def one_limit(name: str, limit: float) -> Gate:
    return Gate.parse(f"{name} = {limit!r}")


def judged(gate: Gate, **taken: Any) -> dict[str, Check]:
    """Judge logits that are 1 % too large."""
    candidate = after("Mul", np.float32(1.01))
    footprint = Footprint(**taken) if taken else None
    result = validate(classifier(), candidate, data(), gate=gate, footprint=footprint)
    assert result.passed == all(c.passed for c in result.gate)
    return {c.name: c for c in result.gate}


@pytest.mark.parametrize(
    ("name", "holds", "breaks"),
    [
        ("min_sqnr_db", 39.9, 40.1),
        ("min_cosine", 0.999, 1.5),
        ("max_relative_error", 0.0101, 0.0099),
        ("max_abs_error", 0.1, 0.001),
        ("max_mean_abs_error", 0.1, 0.001),
        ("min_agreement", 1.0, 1.1),
        ("min_level_sqnr_db", 60.0, float("inf")),
    ],
)
def test_limits_of_outputs(name: str, holds: float, breaks: float) -> None:
    check = judged(one_limit(name, holds))[f"{name}[y0]"]
    assert (check.passed, check.limit) == (True, holds)
    if name != "min_level_sqnr_db":
        limit: dict[str, Any] = {name: breaks}
        assert not judged(Gate(**limit))[f"{name}[y0]"].passed


def test_an_output_may_have_its_own_limit() -> None:
    gate = Gate(min_sqnr_db=99, outputs={"y0": {"min_sqnr_db": 30}})
    assert judged(gate)["min_sqnr_db[y0]"].passed


def test_an_unknown_output_is_an_error() -> None:
    with pytest.raises(RecipeError, match=r"no output 'z' \(it has y0\)"):
        judged(Gate(outputs={"z": {"min_cosine": 0.5}}))


def test_ratios_must_be_measured() -> None:
    gate = Gate(max_latency_ratio=1.0, max_size_ratio=2.0)
    assert gate.needs_latency
    assert not gate.needs_data
    checks = judged(gate)
    assert not checks["max_latency_ratio"].passed
    assert checks["max_latency_ratio"].value is None
    assert checks["max_size_ratio"].passed
    assert judged(gate, latency_ratio=0.5)["max_latency_ratio"].passed
    assert not judged(gate, size_ratio=2.5)["max_size_ratio"].passed


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("4_000_000", 4_000_000),
        ("'4 MB'", 4_000_000),
        ("'4MiB'", 4 << 20),
        ("'1.5 kB'", 1500),
        ("'2 GiB'", 2 << 30),
    ],
)
def test_bytes_have_units(text: str, count: int) -> None:
    assert Gate.parse(f"max_bytes = {text}").max_bytes == count
    assert Gate.parse(f"max_memory = {text}").max_memory == count


@pytest.mark.parametrize(
    ("name", "measured"), [("bytes", 500), ("latency_ms", 2.5), ("memory", 70_000)]
)
def test_absolute_limits(name: str, measured: float) -> None:
    for limit, holds in ((measured, True), (measured * 0.9, False)):
        gate = Gate(**{f"max_{name}": limit})  # type: ignore[arg-type]
        assert judged(gate, **{name: measured})[f"max_{name}"].passed == holds
    if name != "bytes":  # which are counted where there is no file
        unmeasured = judged(Gate(**{f"max_{name}": measured}))  # type: ignore[arg-type]
        assert not unmeasured[f"max_{name}"].passed
        assert "was not measured" in unmeasured[f"max_{name}"].message


def test_opset_limits() -> None:
    checks = judged(Gate(min_opset=18, max_opset=17))
    assert not checks["min_opset"].passed
    assert checks["max_opset"].passed


def test_drop_without_data_does_not_hold() -> None:
    model = classifier()
    result = validate(model, model, gate=Gate(max_drop=0.5, min_agreement=0.5))
    assert [c.passed for c in result.gate] == [False, False]
    assert "not measured" in result.gate[0].message


def test_differences_of_shares_may_be_off_by_rounding() -> None:
    assert 0.99 - 0.98 > 0.01
    assert gating._check("max_drop", 0.01, 0.99 - 0.98).passed
    assert gating._check("min_agreement", 0.3, 1 - 0.7 - 1e-16).passed
    assert not gating._check("max_drop", 0.01, 0.0101).passed
    assert not gating._check("max_drop", 0.01, float("nan")).passed


def test_the_drop_is_that_of_the_worst_level() -> None:
    levels: list[Any] = [
        SimpleNamespace(
            score=None,
            outputs=[
                SimpleNamespace(
                    losses=[SimpleNamespace(unit=LossUnit.ERROR, drop=SimpleNamespace(value=v))]
                )
            ],
        )
        for v in (0.1, 0.3, 0.2)
    ]
    assert gating._drop(DropLimit(0.25), levels).value == 0.3
    assert not gating._drop(DropLimit(0.25), levels).passed
    assert gating._drop(DropLimit(0.3), levels).passed
