"""Every registered pass, enrolled by being registered, over every graph of the zoo."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest

from ocompress.ir import Facet, text
from ocompress.ir.value import Value
from ocompress.pipeline import Numerics, Pass, Pipeline, all_passes, find
from tests.contract.harness import Run, check, everything, outputs, rerun, run_pass
from tests.contract.untidy import UNTIDY
from tests.graphs import ZOO

PASSES = [cls.name for cls in all_passes()]
GRAPHS = {**UNTIDY, **ZOO}
CASES = [(p, g) for p in PASSES for g in GRAPHS]
OPTIONS: dict[str, dict[str, Any]] = {"strip-text": {"strip": ("docs", "metadata")}}
"""Options of passes that do nothing unless they are told to."""
MENDING = {"scalarize-range"}
"""Passes for models that do not load before, which their own tests have."""
TOLERANCE = {Numerics.EXACT: 0.0, Numerics.ROUNDING: 2e-5}
HALF = {"float16": 4e-3}


def _pass(name: str) -> Pass:
    return find(name).from_options(OPTIONS.get(name, {}))


@cache
def _run(name: str, graph: str) -> Run:
    return run_pass(_pass(name), GRAPHS[graph])


@pytest.mark.parametrize(("name", "graph"), CASES)
def test_result_is_valid(name: str, graph: str) -> None:
    check(_run(name, graph).after)


@pytest.mark.parametrize(("name", "graph"), CASES)
def test_interface_is_kept(name: str, graph: str) -> None:
    run = _run(name, graph)

    def face(values: list[Value]) -> list[tuple[object, ...]]:
        return [
            (v.name, v.dtype, v.shape) for v in values if not (v.is_input and v.data is not None)
        ]

    assert face(run.after.graph.inputs) == face(run.before.graph.inputs)
    assert face(list(run.after.graph.outputs)) == face(list(run.before.graph.outputs))
    assert run.after.metadata == run.before.metadata
    if name != "strip-text":  # whose purpose it is
        assert run.after.shell.doc_string == run.before.shell.doc_string


@pytest.mark.parametrize(("name", "graph"), CASES)
def test_numerics_are_as_declared(name: str, graph: str) -> None:
    run = _run(name, graph)
    expected, got = outputs(run.before), outputs(run.after)
    assert expected.keys() == got.keys()
    for key, want in expected.items():
        have = got[key]
        assert have.shape == want.shape
        assert have.dtype == want.dtype
        if find(name).numerics is Numerics.LOSSY:
            assert np.isfinite(have.astype(np.float64)).all()
            continue
        tolerance = TOLERANCE[find(name).numerics]
        tolerance = tolerance and HALF.get(graph, tolerance)
        scale = np.abs(want.astype(np.float64)).max(initial=1e-30)
        error = np.abs(have.astype(np.float64) - want.astype(np.float64)).max(initial=0.0)
        assert error <= tolerance * scale


@pytest.mark.parametrize(("name", "graph"), CASES)
def test_changed_is_truthful(name: str, graph: str) -> None:
    run = _run(name, graph)
    differs = everything(run.before) != everything(run.after)
    assert bool(run.outcome) == differs, run.outcome
    if text(run.before) == text(run.after):
        assert run.outcome.changed in Facet.TYPES | Facet.METADATA | Facet.NAMES, run.outcome


@pytest.mark.parametrize(("name", "graph"), CASES)
def test_second_run_finds_nothing(name: str, graph: str) -> None:
    if find(name).numerics is Numerics.LOSSY:
        pytest.skip("a lossy pass may find more to do in its own result")
    run = _run(name, graph)
    outcome, again = rerun(run, _pass(name))
    assert not outcome
    assert again == text(run.after)


@pytest.mark.parametrize(("name", "graph"), CASES)
def test_same_input_gives_same_result(name: str, graph: str) -> None:
    assert text(run_pass(_pass(name), GRAPHS[graph]).after) == text(_run(name, graph).after)


@pytest.mark.parametrize(("name", "graph"), CASES)
def test_what_is_left_alone_is_explained(name: str, graph: str) -> None:
    for remark in _run(name, graph).diagnostics:
        assert remark.code == remark.code.lower().replace(" ", "-").replace("_", "-")
        assert remark.message
        assert "\n" not in remark.message


@pytest.mark.parametrize("name", [p for p in PASSES if p not in MENDING])
def test_every_pass_finds_something_somewhere(name: str) -> None:
    """Or else nothing here says anything about it."""
    assert any(_run(name, graph).outcome for graph in GRAPHS)


@pytest.mark.parametrize("name", PASSES)
def test_text_form_round_trips(name: str) -> None:
    item = _pass(name)
    if item.internal:
        assert type(item).from_options(item.settings()) == item
        return
    again = Pipeline.parse(str(item)).passes[-1]
    assert again == item
    assert str(again) == str(item)


@pytest.mark.parametrize("name", PASSES)
def test_docstring_has_its_parts(name: str) -> None:
    doc = find(name).__doc__ or ""
    assert "Numerics:" in doc
    if not hasattr(find(name), "members"):
        for heading in ("Before:", "After:", "Leaves alone:"):
            assert heading in doc, heading
