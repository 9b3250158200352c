"""The original is run once for all candidates that are fitted to it."""

from __future__ import annotations

import numpy as np
import pytest

from ocompress.analysis import MeasurementStore, reference_rows
from ocompress.analysis.linear_rows import Site, site_of
from ocompress.analysis.lockstep import Lockstep, Twins
from ocompress.analysis.reference_rows import Ask
from ocompress.analysis.regression import Regression
from ocompress.analysis.segment_runner import Walk
from ocompress.ir import Model, edit
from tests.build import Builder, InMemory, feeds


def residual() -> Model:
    """Convolutions around a shortcut, and one weight that two layers share."""
    b = Builder()
    x = b.input("x", ["n", 3, 6, 6])
    r = b.op("Relu", b.op("Conv", x, b.weight(4, 3, 3, 3), to="c0", pads=[1, 1, 1, 1]))
    g = b.op("Conv", r, b.weight(4, 4, 1, 1), to="c1")
    flat = b.op("Flatten", b.op("Add", g, r))
    shared = b.weight(144, 144)
    h = b.op("Gemm", flat, shared, to="m0")
    b.op("Gemm", b.op("Relu", h), shared, to="m1")
    b.op("Gemm", "m1", b.weight(144, 5), to="m2")
    b.output("m2", ["n", 5])
    return b.model()


def sites(model: Model) -> dict[str, Site]:
    found = {n.label: site_of(n) for n in model.graph.nodes}
    return {name: site for name, site in found.items() if isinstance(site, Site)}


def changed(model: Model) -> Model:
    candidate = model.clone()
    first = next(n for n in candidate.graph.nodes if n.label == "c0")
    weight = first.inputs[1]
    assert weight is not None
    assert weight.data is not None
    edit.set_weight(weight, weight.data * np.float32(0.7))
    return candidate


JOBS = (("c1",), ("m0", "m1"), ("m2",))


def all_sums(model: Model, data: InMemory, store: MeasurementStore | None) -> list[Regression]:
    candidate = changed(model)
    lockstep = Lockstep(model, candidate, data, store=store)
    theirs, ours = sites(model), sites(candidate)
    found = []
    for names in JOBS:
        sums = lockstep.sums([Twins(theirs[n], ours[n]) for n in names])
        assert sums is not None
        whole = sums.whole()
        assert whole is not None
        found.append(whole)
    return found


def test_a_second_candidate_does_not_run_the_original(monkeypatch: pytest.MonkeyPatch) -> None:
    model = residual()
    data = InMemory([feeds(model, seed, batch=8) for seed in range(3)])
    started: list[Model] = []

    def counted(walked: Model, *args: object) -> Walk:
        started.append(walked)
        return Walk(walked, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(reference_rows, "Walk", counted)
    store = MeasurementStore()
    first, again = (all_sums(model, data, store) for _ in range(2))
    assert started == [model]
    without = all_sums(model, data, None)
    assert started == [model, model]
    for a, b, c in zip(first, again, without, strict=True):
        np.testing.assert_array_equal(a.xy, b.xy)
        np.testing.assert_array_equal(a.xy, c.xy)
        np.testing.assert_array_equal(a.yy, c.yy)


def test_what_the_shortcut_lost_is_part_of_the_target() -> None:
    model = residual()
    data = InMemory([feeds(model, seed, batch=8) for seed in range(3)])
    sums = all_sums(model, data, None)[0]
    weight = sites(model)["c1"]
    matrix = weight.matrix(weight.layer.weight.astype(np.float64))
    # c0 makes 0.7 of what it made: of a layer without a bias 0.7 of the output is there, and of
    # the shortcut 0.7, so a weight has to make up for 0.3 of both
    wanted = (matrix + 0.3 * np.eye(4)) / 0.7
    np.testing.assert_allclose(sums.errors(wanted, sums.bias(wanted)), 0, atol=1e-5 * sums.yy.max())


def test_what_is_known_of_a_layer_is_known_for_what_was_asked() -> None:
    model, store = residual(), MeasurementStore()
    data = InMemory([feeds(model, seed, batch=2) for seed in range(3)])
    site = sites(model)["c1"]
    shortcut = next(n for n in model.graph.nodes if n.is_op("Add")).inputs[1]
    assert shortcut is not None
    asked = [(None, 1.0), (None, 0.001), (shortcut, 1.0)]
    for _ in range(2):  # looked at, and remembered
        rows = reference_rows.ReferenceRows(model, data, 0, store)
        asks = (Ask(site, site.node, other, share) for other, share in asked)
        whole, few, around = (rows.made(ask) for ask in asks)
        for all_, some, beside in zip(whole, few, around, strict=True):
            assert len(some.places) < len(all_.places) == 36
            assert all_.shortcut is None
            assert beside.shortcut is not None
            assert beside.shortcut[0] == all_.shape == (2, 4, 6, 6)
        assert len({tuple(made.places) for made in whole}) == 3  # drawn for each feed anew
