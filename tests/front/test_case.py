"""What a gate limits is measured, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from ocompress.front import save
from ocompress.front.case import ModelPair, footprint
from ocompress.validation import Footprint, Gate
from tests.graphs import ZOO


def test_only_what_is_limited_is_measured(tmp_path: Path) -> None:
    model = ZOO["mlp"]()
    save(model, tmp_path / "m.onnx")
    size = (tmp_path / "m.onnx").stat().st_size
    files = ModelPair(model, model, tmp_path / "m.onnx", tmp_path / "m.onnx")
    assert footprint(Gate(max_bytes=1), files, None, threads=1) == Footprint(
        bytes=size, size_ratio=1.0
    )
    timed = footprint(Gate(max_latency_ms=1.0), files, None, threads=1, seconds=0.02)
    assert timed.latency_ms is not None
    assert timed.latency_ms > 0
    assert (timed.latency_ratio, timed.memory) == (None, None)
    both = footprint(Gate(max_latency_ratio=1.0), files, None, threads=1, seconds=0.02)
    assert both.latency_ratio == pytest.approx(1, abs=0.99)


def test_models_in_memory_have_the_bytes_of_a_file() -> None:
    model = ZOO["mlp"]()
    found = footprint(Gate(max_bytes=1), ModelPair(model, model, None, None), None, threads=1)
    assert found.bytes is not None
    assert found.bytes > model.weight_bytes
    assert found.size_ratio == 1.0
