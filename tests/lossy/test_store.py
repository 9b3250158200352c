"""What was measured of a model is not measured again, and of another model it is."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ocompress.analysis import AnalysisManager
from ocompress.analysis import store as store_module
from ocompress.analysis.linear_rows import Site, site_of
from ocompress.analysis.segment_runner import Walk
from ocompress.analysis.store import MeasurementStore
from ocompress.ir import Facet, Model, edit
from ocompress.lossy import input_moments
from ocompress.lossy.fisher import curvature
from ocompress.pipeline import PassManager, Pipeline, Verdict
from tests.build import InMemory
from tests.contract.harness import TARGET
from tests.passes.pruning.on_data import Fake, batches, context
from tests.passes.pruning.test_prune_with_data import net


class Counted(InMemory):
    """Counts how many feeds were read of it."""

    def __init__(self, inner: InMemory, counts: list[int] | None = None) -> None:
        super().__init__(inner.batches)
        self.read = [0] if counts is None else counts

    def __iter__(self) -> Iterator[Mapping[str, np.ndarray]]:
        for feed in super().__iter__():
            self.read[0] += 1
            yield feed

    def take(self, samples: int) -> Counted:
        return Counted(super().take(samples), self.read)


def sites_of(model: Model) -> list[Site]:
    found = [site_of(n) for n in model.graph.nodes]
    return [s for s in found if isinstance(s, Site)]


def test_the_same_model_is_looked_at_once() -> None:
    model = net()
    data = Counted(InMemory(batches(model)))
    ctx = context(model)
    ctx.analyses.data = data

    def measure(of: Model) -> tuple[list[np.ndarray], dict[str, np.ndarray]]:
        sites = sites_of(of)
        seen = [s.xx for _, _, s in input_moments.look(of, [(0, [t]) for t in sites], ctx) if s]
        return seen, curvature(of, sites, ctx)

    first, curvatures = measure(model)
    count = data.read[0]
    assert count > 0
    ctx.analyses.invalidate(Facet.ALL)  # a pass was rolled back
    again, curvatures_again = measure(model.clone())
    assert data.read[0] == count
    assert len(again) == len(first) == len(sites_of(model))
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)
    assert curvatures.keys() == curvatures_again.keys()
    other = model.clone()
    value = sites_of(other)[0].node.inputs[1]
    assert value is not None
    assert value.data is not None
    edit.set_weight(value, value.data * 2)
    changed, _ = measure(other)
    assert data.read[0] > count
    assert not np.allclose(changed[1], first[1])


def test_layers_that_were_not_asked_for_yet_are_looked_at() -> None:
    model, fresh = net(), net()
    ctx, sites = context(model), sites_of(model)
    list(input_moments.look(model, [(0, [sites[2]])], ctx))
    both = list(input_moments.look(model, [(0, [s]) for s in sites], ctx))
    alone = list(input_moments.look(fresh, [(0, [s]) for s in sites_of(fresh)], context(fresh)))
    for (_, _, a), (_, _, b) in zip(both, alone, strict=True):
        assert a is not None
        assert b is not None
        np.testing.assert_array_equal(a.xx, b.xx)
        assert a.count == b.count


def test_what_a_pass_that_was_rolled_back_measured_serves_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = net()
    starts: list[Model] = []
    walk = Walk

    def counted(model: Model, *args: object) -> object:
        starts.append(model)
        return walk(model, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(input_moments, "Walk", counted)
    never = Fake("size", lambda *_: Verdict(False, "size", ""))
    manager = PassManager(target=TARGET, data=InMemory(batches(model)), guards=[never])
    prune = "prune{protect_ends=false smallest=0 sparsity=0.5}"
    manager.run(Pipeline.parse(f"{prune},prune{{protect_ends=false smallest=0}}"), model)
    assert len(starts) == 1
    free = PassManager(target=TARGET, data=InMemory(batches(model)))
    starts.clear()
    free.run(Pipeline.parse(f"{prune},prune{{protect_ends=false smallest=0 sparsity=0.7}}"), model)
    assert len(starts) == 2  # the second meets another model


def entry(size: int) -> tuple[np.ndarray, ...]:
    return (np.zeros(size, np.uint8),)


def test_memory_is_bounded_and_other_models_make_room() -> None:
    memory = MeasurementStore(100)
    assert memory.put("a", 1, entry(60))
    assert memory.put("a", 2, entry(30))
    assert not memory.put("a", 3, entry(20))  # what is known of the same model stays
    assert memory.get("a", 1) is not None
    assert memory.put("b", 1, entry(20))
    assert memory.get("a", 1) is None
    assert memory.put("b", 2, entry(80))
    assert not memory.put("b", 3, entry(1))
    assert not MeasurementStore(10).put("a", 1, entry(11))


@pytest.mark.parametrize("in_memory", [1 << 20, 0])
def test_what_is_remembered_cannot_be_changed(
    in_memory: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "_IN_MEMORY", in_memory)
    memory = MeasurementStore()
    array = np.arange(3.0)
    memory.put("a", 1, (array,))
    for held in (array, *(memory.get("a", 1) or ())):
        with pytest.raises(ValueError, match="read-only"):
            held[0] = 1


def test_what_memory_has_no_room_for_is_put_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "_IN_MEMORY", 100)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    memory = MeasurementStore()
    arrays = [np.full((4, 5), at, np.float32) for at in range(8)]
    for at, array in enumerate(arrays):
        assert memory.put("a", at, (array, np.array(at)))
    assert len(list(tmp_path.rglob("*.npy"))) >= 7
    for at, array in enumerate(arrays):
        found = memory.get("a", at)
        assert found is not None
        np.testing.assert_array_equal(found[0], array)
        assert int(found[1]) == at
    memory._most = 8  # what is put aside counts, too, so another model takes its place
    assert memory.put("b", 0, (np.zeros(1),))
    assert not list(tmp_path.rglob("*.npy"))
    assert memory.get("a", 0) is None


def test_a_full_disk_costs_time_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "_IN_MEMORY", 0)

    def save(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", save)
    memory = MeasurementStore()
    assert not memory.put("a", 1, (np.zeros(3),))
    assert memory.get("a", 1) is None


def test_a_manager_has_one_store_and_several_may_share_one() -> None:
    model = net()
    ctx = context(model)
    first = ctx.store
    ctx.analyses.invalidate(Facet.ALL)
    assert ctx.store is first
    assert context(model).store is not first
    data, store = Counted(InMemory(batches(model))), MeasurementStore()
    counts = []
    for _ in range(2):  # two managers
        ctx = replace(context(model), analyses=AnalysisManager(data, store))
        list(input_moments.look(model, [(0, [s]) for s in sites_of(model)], ctx))
        counts.append(data.read[0])
    assert counts[0] == counts[1] > 0
