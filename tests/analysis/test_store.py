"""Measurements that are kept in a folder serve later runs on the same data, and no others."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path

import numpy as np
import pytest

import ocompress
from ocompress.analysis import MeasurementStore
from ocompress.errors import OptionError
from ocompress.ir import to_proto
from ocompress.lossy import input_moments
from tests.build import InMemory
from tests.graphs import ZOO

ARRAYS = (np.arange(6.0).reshape(2, 3), np.array(7))


def data(seed: int = 0) -> InMemory:
    draw = np.random.default_rng(seed).standard_normal((8, 16)).astype(np.float32)
    return InMemory([{"x": draw[:4]}, {"x": draw[4:]}])


def known(folder: Path, seed: int = 0, model: str = "m", what: Hashable = ("pairs", 0)) -> bool:
    found = MeasurementStore(folder=folder, data=data(seed)).get(model, what)
    if found is not None:
        for a, b in zip(found, ARRAYS, strict=True):
            np.testing.assert_array_equal(a, b)
    return found is not None


def test_what_was_measured_is_known_to_later_runs_on_the_same_data(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "cache"
    assert MeasurementStore(folder=folder, data=data()).put("m", ("pairs", 0), ARRAYS)
    assert known(folder)
    assert not known(folder, seed=1)
    assert not known(folder, model="other")
    assert not known(folder, what=("pairs", 1))
    assert not known(tmp_path)


def test_what_memory_has_no_room_for_is_in_the_folder(tmp_path: Path) -> None:
    store = MeasurementStore(8, tmp_path, data())
    assert not store.put("m", ("pairs", 0), ARRAYS)
    found = store.get("m", ("pairs", 0))
    assert found is not None
    np.testing.assert_array_equal(found[0], ARRAYS[0])


def test_damaged_files_are_unknown(tmp_path: Path) -> None:
    MeasurementStore(folder=tmp_path, data=data()).put("m", ("pairs", 0), ARRAYS)
    (file,) = tmp_path.iterdir()
    content = file.read_bytes()
    for damaged in (content[:40], b"", b"PK\x03\x04" + content[4:60]):
        file.write_bytes(damaged)
        assert not known(tmp_path)


def test_a_folder_that_cannot_be_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OptionError, match="cannot be made"):
        MeasurementStore(folder=tmp_path / "file", data=data())


def test_a_second_run_measures_nothing_anew_and_makes_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = np.random.default_rng(0).standard_normal((64, 16)).astype(np.float32)

    def run() -> bytes:
        done = ocompress.optimize(
            ZOO["mlp"](),
            passes="prune{sparsity=0.5,smallest=0,protect_ends=false}",
            data={"x": x},
            cache=tmp_path,
            measure=False,
        )
        return bytes(to_proto(done.pipeline.model).SerializeToString())

    first = run()
    files = sorted(p.name for p in tmp_path.iterdir())
    assert files

    def never(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(input_moments, "Walk", never)
    assert run() == first
    assert sorted(p.name for p in tmp_path.iterdir()) == files
