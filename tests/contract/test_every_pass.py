"""Every registered pass, enrolled by being registered, over the graphs that are enrolled for it."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from ocompress.ir import text
from ocompress.ir.value import Value
from ocompress.pipeline import Numerics, Pipeline, find
from tests.contract.enrolled import (
    CASES,
    GRAPHS,
    LEAST,
    PASSES,
    graphs_for,
    original_of,
    pass_of,
)
from tests.contract.facets import untruths
from tests.contract.harness import Run, check, outputs, rerun, run_pass

TOLERANCE = {Numerics.EXACT: 0.0, Numerics.ROUNDING: 2e-5}
HALF = {"float16": 4e-3}


@cache
def _run(name: str, graph: str) -> Run:
    return run_pass(pass_of(name), GRAPHS[graph])


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
    if not run.outcome:
        return  # the very same model, see `test_changed_is_truthful`
    expected, got = outputs(original_of(graph, run.before)), outputs(run.after)
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
    assert not untruths(find(name), run.outcome, run.before, run.after)


@pytest.mark.parametrize(("name", "graph"), CASES)
def test_second_run_finds_nothing(name: str, graph: str) -> None:
    if find(name).numerics is Numerics.LOSSY:
        pytest.skip("a lossy pass may find more to do in its own result")
    run = _run(name, graph)
    outcome, again = rerun(run, pass_of(name))
    assert not outcome
    assert again == text(run.after)


@pytest.mark.parametrize(("name", "graph"), CASES)
def test_same_input_gives_same_result(name: str, graph: str) -> None:
    if _run(name, graph).outcome:  # what changes nothing cannot differ
        assert text(run_pass(pass_of(name), GRAPHS[graph]).after) == text(_run(name, graph).after)


@pytest.mark.parametrize(("name", "graph"), CASES)
def test_what_is_left_alone_is_explained(name: str, graph: str) -> None:
    for remark in _run(name, graph).diagnostics:
        assert remark.code == remark.code.lower().replace(" ", "-").replace("_", "-")
        assert remark.message
        assert "\n" not in remark.message


@pytest.mark.parametrize("name", PASSES)
def test_every_pass_fires_on_several_graphs(name: str) -> None:
    """Or else nothing here says anything about it."""
    fired = [graph for graph in graphs_for(name) if _run(name, graph).outcome]
    assert len(fired) >= LEAST, f"{name} changes only {fired}"


@pytest.mark.parametrize("name", PASSES)
def test_text_form_round_trips(name: str) -> None:
    item = pass_of(name)
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
