"""How weights are stored in what `optimize` writes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ocompress
from ocompress.errors import OptionError
from ocompress.front import Budget, Request, in_archive, storage_for
from ocompress.io import save_model
from ocompress.runtime import Session
from tests.build import feeds
from tests.contract.storable import palette


def test_packed_is_smaller_and_the_same(tmp_path: Path) -> None:
    model, path = palette(), tmp_path / "in.onnx"
    save_model(model, path)
    for name, storage in (("plain", "plain"), ("packed", "packed")):
        done = ocompress.optimize(
            path, tmp_path / name, passes="canonicalize", storage=storage, measure=False
        )
        assert done.held
        assert done.cost[0].parameters == done.cost[1].parameters
        assert done.settings["storage"] == storage
    plain, packed = tmp_path / "plain", tmp_path / "packed"
    assert packed.stat().st_size < 0.5 * plain.stat().st_size
    x = feeds(model)
    left, right = (Session(p).run(x)["y"] for p in (plain, packed))
    np.testing.assert_array_equal(left, right)


def test_packing_alone_needs_no_passes(tmp_path: Path) -> None:
    save_model(palette(), tmp_path / "in.onnx")
    done = ocompress.optimize(
        tmp_path / "in.onnx", tmp_path / "out.onnx", storage="auto", measure=False
    )
    assert [r.name for r in done.pipeline.records][-1] == "pack-weights"


def test_auto_leaves_archives_to_their_coder() -> None:
    assert storage_for("auto", Path("a.ocz")) == "plain"
    assert storage_for("auto", Path("a.onnx")) == "packed"
    assert storage_for("packed", Path("a.ocz")) == "packed"


def test_other_words_are_refused(tmp_path: Path) -> None:
    save_model(palette(), tmp_path / "in.onnx")
    with pytest.raises(OptionError, match="none of plain, packed, auto"):
        ocompress.optimize(tmp_path / "in.onnx", passes="quant", storage="small")


@pytest.mark.parametrize("output", ["out.ocz", "out.onnx"])
def test_a_limit_in_bytes_is_a_goal_where_an_archive_is_written(output: str) -> None:
    passes = "prune{sparsity=0.5},entropy"
    budget = Budget(max_bytes=2000.9)
    request = Request(passes=passes, budget=budget, archive=in_archive(Path(output)))
    (item,) = (p for p in request.pipeline.passes if p.name == "entropy")
    assert item.settings()["max_size"] == (2000 if output == "out.ocz" else None)
    own = Request(passes="entropy{bits=2}", budget=budget, archive=True).pipeline.passes[-1]
    assert own.settings()["max_size"] is None


@pytest.mark.parametrize(
    ("limits", "goal"),
    [
        ({"max_size_ratio": 0.1}, 1234),
        ({"max_size_ratio": 0.1, "max_bytes": 900}, 900),
        ({"max_size_ratio": 1.0}, None),
        ({"max_size_ratio": None}, None),
    ],
)
def test_a_ratio_of_sizes_is_a_goal_as_bytes_are(limits: dict[str, Any], goal: int | None) -> None:
    request = Request(passes="entropy", budget=Budget(**limits), archive=True, original_bytes=12345)
    assert request.pipeline.passes[-1].settings()["max_size"] == goal
    stored = replace(request, archive=False)
    assert stored.pipeline.passes[-1].settings()["max_size"] is None


def test_an_archive_keeps_to_a_ratio_of_the_file(tmp_path: Path) -> None:
    model = tmp_path / "in.onnx"
    save_model(palette(), model)
    done = ocompress.optimize(
        model, tmp_path / "out.ocz", passes="entropy{fit=false}", max_size="0.1x", measure=False
    )
    limit = 0.1 * model.stat().st_size
    assert 0.5 * limit < (tmp_path / "out.ocz").stat().st_size <= limit
    assert not done.broken
