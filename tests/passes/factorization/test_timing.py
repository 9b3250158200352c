"""What is timed, how often, and what is not worth it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ocompress.analysis import AnalysisManager
from ocompress.analysis.linear_rows import Site, site_of
from ocompress.diagnostics import Diagnostics
from ocompress.ir import Model, onnx_api
from ocompress.pipeline import Allowance, Context
from ocompress.targets import find
from passes.factorization import offers, timing
from passes.factorization.factorize import Factorize
from tests.build import Builder, InMemory
from tests.counting import counting
from tests.passes.factorization.replaced import batches, net, smooth


class Clock:
    """A guard of the latency that takes everything."""

    kind = "latency"
    limit = 1.0

    def judge(self, candidate: Model, best: Model) -> Any:
        raise NotImplementedError


def row(layers: int) -> Model:
    """Convolutions of one shape in a row."""
    b = Builder(4)
    h = b.input("x", ["n", 16, 10, 10])
    for at in range(layers):
        weight = b.const(smooth(b.rng, (16, 16, 3, 3)))
        h = b.op("Relu", b.op("Conv", h, weight, pads=[1, 1, 1, 1], to=f"c{at}"))
    b.output(h, ["n", 16, 10, 10])
    return b.model()


def conv(outputs: int) -> Site:
    b = Builder(4)
    x = b.input("x", ["n", 16, 10, 10])
    b.output(b.op("Conv", x, b.weight(outputs, 16, 3, 3), to="y"), ["n", outputs, 8, 8])
    found = site_of(b.model().graph.nodes[0])
    assert isinstance(found, Site)
    return found


def proposed(item: Factorize, model: Model, feeds: Any = None) -> Any:
    """Return what the pass proposes where a clock runs."""
    ctx = Context(
        target=find("x86-vnni"),
        analyses=AnalysisManager(None if feeds is None else InMemory(feeds)),
        diagnostics=Diagnostics(),
        allowance=Allowance([Clock()]),
    )
    onnx_api.infer_types(model)
    return item.propose(model, ctx)


def test_layers_of_one_shape_are_timed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded, tables = [], []
    for layers in (1, 3):
        with counting(monkeypatch) as counts:
            tables.append(proposed(Factorize(max_macs=0.9), row(layers)).table.rows)
        loaded.append(counts["sessions"])
    few = len(tables[0]["c0"])
    assert loaded[0] >= few > 5
    # the others may have chains that the first had not, beside which the layer is timed again
    assert loaded[1] < loaded[0] + few
    times = [{m.setting + m.method: m.ms for m in rows} for rows in tables[1].values()]
    for other in times[1:]:
        same = [(times[0][key], other[key]) for key in times[0].keys() & other.keys()]
        assert len(same) > 5
        assert all(a == b for a, b in same)


def test_new_chains_count_in_what_the_layer_took_at_first(monkeypatch: pytest.MonkeyPatch) -> None:
    paces = iter([1.0, 2.0])

    def times(models: Any, *_: Any) -> list[float]:
        pace = next(paces)
        return [pace * (4.0 if at == 0 else at) for at in range(len(models))]

    monkeypatch.setattr(timing, "milliseconds", times)
    models = [timing.alone(conv(outputs), (1, 16, 10, 10), 18) for outputs in (16, 12, 8)]
    clock = timing.ChainClock(0)
    assert clock.times(models[:2], (1, 16, 10, 10)) == [4.0, 1.0]
    assert clock.times(models, (1, 16, 10, 10)) == [4.0, 1.0, 1.0]
    assert clock.times(models, (1, 16, 10, 10)) == [4.0, 1.0, 1.0]  # nothing is timed any more


def test_chains_that_others_beat_in_time_and_error_are_no_loss(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    few = proposed(Factorize(max_time=0.9), net(), batches(0))
    monkeypatch.setattr(offers, "_CLEARLY", np.inf)
    every = proposed(Factorize(max_time=0.9), net(), batches(0))
    counts = [sum(map(len, p.table.rows.values())) for p in (few, every)]
    assert counts[0] < 0.8 * counts[1]
    for share in np.linspace(0.4, 0.9, 11):
        limit = share * every.table.total({}, "ms")
        errors = [p.table.error(p.table.within("ms", limit)) for p in (few, every)]
        assert errors[0] == pytest.approx(errors[1])
