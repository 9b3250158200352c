"""Profiling from end to end on tiny models."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from ocompress.errors import DataError
from ocompress.io import save_model
from ocompress.ir.serialized_size import serialized_bytes
from ocompress.profiling import profile
from tests.build import Builder, InMemory
from tests.profiling.nets import mlp, several_inputs

BATCHES = InMemory([{"x": np.ones((5, 4), np.float32)}])


def test_a_model_beside_its_reference() -> None:
    result = profile(mlp(8), against=mlp(64), data=BATCHES, runs=20, per_node=True, memory=False)
    assert result.against is not None
    assert result.ratio is not None
    assert result.model.latency.runs == result.against.latency.runs == 20
    assert result.model.latency.samples == 5
    assert result.model.cost.total_macs == 4 * 8 + 8 * 3  # of one sample
    assert result.against.cost.total_macs == 4 * 64 + 64 * 3
    assert {"hidden", "y"} <= {r.name for r in result.model.by_layer}
    assert result.model.bytes == serialized_bytes(mlp(8))
    assert result.environment.threads == 1


def test_the_result_is_json() -> None:
    written = profile(mlp(), runs=5, memory=False).to_json()
    json.dumps(written, allow_nan=False)
    assert list(written) == ["model", "inputs", "environment", "against", "ratio", "remarks"]
    assert written["model"]["latency"]["throughput"] > 0
    assert written["against"] is None


def test_guesses_are_remarked() -> None:
    result = profile(several_inputs(), runs=5, memory=False, shapes={"x": (1, 3, 4, 4)})
    assert [i.shape for i in result.inputs] == [(1, 3, 4, 4), (), (1, 16), (1, 16)]
    assert any("'ids': guessed n=1, t=16" in remark for remark in result.remarks)
    assert not any("'x'" in remark for remark in result.remarks)


@pytest.mark.parametrize("given", [True, False])
def test_memory_is_measured_in_a_fresh_process(given: bool, tmp_path: Path) -> None:
    b = Builder()
    x = b.input("x", ["n", 1024])
    b.op("MatMul", x, b.weight(1024, 8192), to="y")
    b.output("y", ["n", 8192])
    model = b.model()
    path = tmp_path / "model.onnx"
    save_model(model, path)
    result = profile(model, runs=5, path=path if given else None)
    memory = result.model.memory
    assert memory is not None, result.remarks
    assert memory.peak >= 32 << 20  # the weights are 32 MiB
    assert memory.peak >= memory.loaded > 0
    assert 10 << 20 < memory.baseline < 1 << 30
    assert result.model.bytes == path.stat().st_size


def test_a_missing_file_is_a_remark_of_memory(tmp_path: Path) -> None:
    from ocompress.profiling.memory import measure

    found = measure(mlp(), {"x": np.ones((1, 4), np.float32)}, 1, tmp_path / "none.onnx")
    assert isinstance(found, str)
    assert found.startswith("memory was not measured")


def test_data_that_do_not_fit_are_an_error() -> None:
    with pytest.raises(DataError, match="do not match"):
        profile(mlp(), data=InMemory([{"x": np.ones((5, 9), np.float32)}]), runs=5)
