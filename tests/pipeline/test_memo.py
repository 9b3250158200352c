"""Proposals that are kept for later runs: the same plans, about the model at hand."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ocompress import targets
from ocompress.io import CacheFiles
from ocompress.ir import Model, fingerprint
from ocompress.lossy import LossyPass
from ocompress.pipeline import PassManager, Pipeline, ProposalMemo, find
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
