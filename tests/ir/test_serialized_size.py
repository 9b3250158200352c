"""The size of a model as one file."""

from __future__ import annotations

from pathlib import Path

import pytest

from ocompress.io import save_model
from ocompress.ir import serialized_size
from ocompress.ir.serialized_size import serialized_bytes
from tests.build import Builder


def test_it_is_that_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    b = Builder()
    b.op("Gemm", b.input("x", ["n", 200]), b.weight(200, 100), b.weight(100), to="y")
    b.output("y", ["n", 100])
    model = b.model()
    save_model(model, tmp_path / "model.onnx")
    size = (tmp_path / "model.onnx").stat().st_size
    assert serialized_bytes(model) == size
    monkeypatch.setattr(serialized_size, "_COPY_BELOW", 0)  # as if it were large
    assert abs(serialized_bytes(model) - size) < 100
