"""Proposals that are kept for later runs: the same plans, about the model at hand."""

from __future__ import annotations

import gc
import pickle
import weakref
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ocompress import targets
from ocompress.errors import PassError
from ocompress.io import CacheFiles
from ocompress.ir import Model, fingerprint, to_proto
from ocompress.ir.edit import set_weight
from ocompress.lossy import LossyPass
from ocompress.pipeline import PassManager, Pipeline, PipelineResult, ProposalMemo, find
from ocompress.pipeline import memo as module
from tests.build import InMemory
from tests.graphs import ZOO

DATA = InMemory([{"x": np.random.default_rng(0).standard_normal((64, 16)).astype(np.float32)}])


def memo(folder: Path, whose: str = "ours") -> ProposalMemo:
    return ProposalMemo(CacheFiles(folder, ".pickle", 1 << 26), whose)


def made(text: str, known: ProposalMemo, model: Model | None = None) -> str:
    manager = PassManager(target=targets.find("portable"), data=DATA, proposals=known)
    pipeline = Pipeline.of(Pipeline.items(text), fixed=True)
    return fingerprint(manager.run(pipeline, model or ZOO["mlp"]()).model)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("prune-channels{max_macs=0.8}", "prune-channels{max_macs=0.5}"),
        ("factorize{max_macs=0.8}", "factorize{max_macs=0.5}"),
    ],
)
def test_what_was_proposed_serves_later_runs(
    first: str, second: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = made(second, ProposalMemo())
    made(first, memo(tmp_path))
    assert list(tmp_path.iterdir())
    cls = type(find(first.partition("{")[0])())
    assert issubclass(cls, LossyPass)
    with monkeypatch.context() as patch:
        patch.setattr(cls, "propose", None)  # nothing is looked at again
        assert made(second, memo(tmp_path)) == expected
    calls: list[Model] = []
    propose: Any = cls.propose

    def watched(item: Any, model: Model, ctx: Any) -> Any:
        calls.append(model)
        return propose(item, model, ctx)

    monkeypatch.setattr(cls, "propose", watched)
    made(second, memo(tmp_path, "other data"))
    assert len(calls) == 1
    renamed = ZOO["mlp"]()
    for _, node in renamed.nodes():
        node.name = f"{node.name}_"
    made(second, memo(tmp_path), renamed)  # parts of proposals are known by these names
    assert len(calls) == 2


def test_levels_with_the_same_plan_are_built_once(monkeypatch: pytest.MonkeyPatch) -> None:
    cls: Any = type(find("prune-channels")())
    build, calls = cls.build, list[Any]()

    def watched(*given: Any, **more: Any) -> Any:
        calls.append(given)
        return build(*given, **more)

    fresh = [made(f"prune-channels{{max_macs={m}}}", ProposalMemo()) for m in (0.5, 0.501, 0.9)]
    assert fresh[0] == fresh[1] != fresh[2]
    monkeypatch.setattr(cls, "build", watched)
    known = ProposalMemo()
    manager = PassManager(target=targets.find("portable"), data=DATA, proposals=known)
    first = manager.run(Pipeline.of([cls(max_macs=0.5)], fixed=True), ZOO["mlp"]()).model
    for value in list(first.graph.initializers.values()):
        assert value.data is not None
        set_weight(value, np.zeros_like(value.data))  # whatever becomes of it
    assert made("prune-channels{max_macs=0.501}", known) == fresh[1]
    assert len(calls) == 1
    assert made("prune-channels{max_macs=0.9}", known) == fresh[2]
    assert len(calls) == 2


def test_what_was_made_makes_room_for_what_comes() -> None:
    known = ProposalMemo()
    known.keep_made("a", 1, 150 << 20)
    known.keep_made("b", 2, 50 << 20)
    assert known.made("a") == 1
    known.keep_made("c", 3, 100 << 20)
    assert [known.made(key) for key in "abc"] == [1, None, 3]
    known.keep_made("d", 4, 300 << 20)
    assert [known.made(key) for key in "abcd"] == [None] * 4


@pytest.mark.parametrize("text", ["prune-channels{max_macs=0.5}", "factorize{max_macs=0.5}"])
def test_figures_for_people_can_be_left_out(text: str) -> None:
    target, pipeline = targets.find("portable"), Pipeline.parse(text)
    told, silent = (
        PassManager(target=target, data=DATA, tells=tells).run(pipeline, ZOO["mlp"]())
        for tells in (True, False)
    )
    assert fingerprint(told.model) == fingerprint(silent.model)
    assert "error" in told.records[-1].details
    assert "error" not in silent.records[-1].details


def test_nodes_are_those_of_the_model_at_hand(tmp_path: Path) -> None:
    model, same = ZOO["mlp"](), ZOO["mlp"]()
    node = next(n for _, n in model.nodes())
    memo(tmp_path).put("key", {"node": node, "model": model, "value": node.outputs[0]}, model)
    found = memo(tmp_path).get("key", same)
    assert found["node"] is next(n for _, n in same.nodes())
    assert found["value"] is found["node"].outputs[0]
    assert found["model"] is same


def test_what_a_file_must_not_hold_is_neither_written_nor_read(tmp_path: Path) -> None:
    model = ZOO["mlp"]()
    kept = memo(tmp_path)
    kept.put("own", ZOO["mlp"](), model)  # a model of its own
    kept.put("local", lambda: 1, model)
    assert not list(tmp_path.iterdir())
    assert kept.get("local", model)() == 1  # in memory it stays
    assert kept.files is not None
    kept.put("key", [1, 2], model)
    (file,) = tmp_path.iterdir()
    assert memo(tmp_path).get("key", model) == [1, 2]

    class Evil:
        def __reduce__(self) -> Any:
            return Path.touch, (tmp_path / "touched",)

    for content in (pickle.dumps(Evil()), file.read_bytes()[:5], b""):
        file.write_bytes(content)
        assert memo(tmp_path).get("key", model) is None
    assert not (tmp_path / "touched").exists()


@pytest.mark.parametrize(
    "text",
    [
        "prune-channels{max_macs=0.8}",
        "factorize{max_macs=0.8}",
        "quant",
        "quant-weights",
        "codebook{codewords=16 smallest=0}",
        "entropy{bits=4}",
        "prune{sparsity=0.5}",
        "prune-channels{max_macs=0.8},quant",
        "separable",  # changes nothing
    ],
)
def test_what_was_done_is_done_again_without_running(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ran(known: ProposalMemo) -> PipelineResult:
        manager = PassManager(target=targets.find("portable"), data=DATA, proposals=known)
        pipeline = Pipeline.of(Pipeline.items(text), fixed=True)
        return manager.run(pipeline, ZOO["mlp"]())

    first = ran(memo(tmp_path))
    for record in first.records[1:]:
        monkeypatch.setattr(find(record.name), "run", None)
    again = ran(memo(tmp_path))
    assert to_proto(again.model) == to_proto(first.model)
    assert list(again.diagnostics) == list(first.diagnostics)
    for one, other in zip(first.records, again.records, strict=True):
        assert replace(one, seconds=0.0) == replace(other, seconds=0.0)
    with pytest.raises(PassError):  # other data
        ran(memo(tmp_path, "other data"))


def test_what_files_have_makes_room_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, known = ZOO["mlp"](), memo(tmp_path)
    monkeypatch.setattr(module, "_HELD", 100_000)
    alive = {}
    for name in "abc":
        found = {"weights": np.full(12_000, ord(name), np.float32), "model": model}
        alive[name] = weakref.ref(found["weights"])
        known.put(name, found, model)
    other = ZOO["mlp"]()
    known.put("d", other, model)  # which cannot be written, so it stays
    del found
    gc.collect()
    assert [name for name in "abc" if alive[name]() is not None] == ["b", "c"]
    assert known.get("a", model)["weights"][0] == ord("a")  # read again, in place of the oldest
    gc.collect()
    assert [name for name in "abc" if alive[name]() is not None] == ["c"]
    for name in "bc":
        known.get(name, model)
    assert known.get("d", model) is other
