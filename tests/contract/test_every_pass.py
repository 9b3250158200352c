"""Every registered pass, enrolled by being registered, over the graphs that are enrolled for it."""

from __future__ import annotations

import math

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
    RUNNABLE,
    graphs_for,
    original_of,
    pass_of,
    ran,
)
from tests.contract.facets import untruths
from tests.contract.harness import check, outputs, rerun, run_pass

TOLERANCE = {Numerics.EXACT: 0.0, Numerics.ROUNDING: 2e-5}
HALF = {"float16": 4e-3}
LEAST_DB = {
    "equalize": 100.0,
    "quant-weights": 38.0,
    "quant-dynamic": 36.0,
    "quant": 20.0,
    "prune": 15.0,
    "prune-heads": 15.0,
    "prune-channels": 12.0,
    "separable": 7.0,
    "nested": 60.0,
    "split": 0.5,
    "squeeze": 6.0,
    "binarize": 5.0,
    "circulant": 0.5,
    "fastfood": 2.0,
    "hash": 0.5,
    "random-code": 5.0,
    "entropy": 5.0,
    "cluster": 5.0,
    "codebook": 3.0,
    "factorize": 5.0,
    "group": 5.0,
    "prune-layers": 3.0,
    "tune": 5.0,
}
"""Signal over noise of outputs, in dB, under the defaults: what random weights lose."""


@pytest.mark.parametrize(("name", "graph"), CASES)
def test_result_is_valid(name: str, graph: str) -> None:
    check(ran(name, graph).after)


@pytest.mark.parametrize(("name", "graph"), CASES)
def test_interface_is_kept(name: str, graph: str) -> None:
    run = ran(name, graph)

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
    run = ran(name, graph)
    if not run.outcome:
        return  # the very same model, see `test_changed_is_truthful`
    expected, got = outputs(original_of(graph, run.before)), outputs(run.after)
    assert expected.keys() == got.keys()
    for key, want in expected.items():
        have = got[key]
        assert have.shape == want.shape
        assert have.dtype == want.dtype
        if find(name).numerics is Numerics.LOSSY:
            assert _ratio_db(want, have) >= LEAST_DB[name]
            continue
        tolerance = TOLERANCE[find(name).numerics]
        tolerance = tolerance and HALF.get(graph, tolerance)
        scale = np.abs(want.astype(np.float64)).max(initial=1e-30)
        error = np.abs(have.astype(np.float64) - want.astype(np.float64)).max(initial=0.0)
        assert error <= tolerance * scale


def _ratio_db(want: np.ndarray, have: np.ndarray) -> float:
    """Return signal over noise; what is no number fails."""
    signal, noise = (float(np.square(a, dtype=np.float64).sum()) for a in (want, want - have))
    assert np.isfinite(noise)
    return 10 * math.log10(signal / max(noise, 1e-30))


@pytest.mark.parametrize(("name", "graph"), CASES)
def test_changed_is_truthful(name: str, graph: str) -> None:
    run = ran(name, graph)
    assert not untruths(find(name), run.outcome, run.before, run.after)


@pytest.mark.parametrize(("name", "graph"), CASES)
def test_second_run_finds_nothing(name: str, graph: str) -> None:
    if find(name).numerics is Numerics.LOSSY:
        pytest.skip("a lossy pass may find more to do in its own result")
    run = ran(name, graph)
    outcome, again = rerun(run, pass_of(name))
    assert not outcome
    assert again == text(run.after)


@pytest.mark.parametrize(("name", "graph"), CASES)
def test_same_input_gives_same_result(name: str, graph: str) -> None:
    if ran(name, graph).outcome:  # what changes nothing cannot differ
        assert text(run_pass(pass_of(name), GRAPHS[graph]).after) == text(ran(name, graph).after)


@pytest.mark.parametrize(("name", "graph"), CASES)
def test_what_is_left_alone_is_explained(name: str, graph: str) -> None:
    for remark in ran(name, graph).diagnostics:
        assert remark.code == remark.code.lower().replace(" ", "-").replace("_", "-")
        assert remark.message
        assert "\n" not in remark.message


@pytest.mark.parametrize("name", RUNNABLE)
def test_every_pass_fires_on_several_graphs(name: str) -> None:
    """Or else nothing here says anything about it."""
    fired = [graph for graph in graphs_for(name) if ran(name, graph).outcome]
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
