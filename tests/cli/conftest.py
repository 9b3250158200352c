"""A small model, data for it, and the program called as a user calls it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from ocompress.cli.app import run
from ocompress.io import save_model
from tests.graphs import ZOO


@dataclass(frozen=True)
class Ended:
    """How a call ended."""

    code: int
    out: str
    err: str

    @property
    def complaint(self) -> str:
        """The one sentence that says what went wrong."""
        lines = [line for line in self.err.splitlines() if line.startswith("error: ")]
        assert len(lines) == 1, self.err
        assert "Traceback" not in self.err
        return lines[0]


Call = Callable[..., Ended]


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Call:
    """Return a function that runs the program in this process."""

    def program(*arguments: object) -> Ended:
        code = run([str(a) for a in arguments])
        captured = capsys.readouterr()
        return Ended(code, captured.out, captured.err)

    return program


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder with `in.onnx` and `d.npz`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OCOMPRESS_CACHE", str(tmp_path / "cache"))
    save_model(ZOO["mlp"](), tmp_path / "in.onnx")
    rng = np.random.default_rng(0)
    x = rng.standard_normal((40, 16)).astype(np.float32)
    np.savez(tmp_path / "d.npz", x=x, labels=rng.integers(0, 10, 40))
    return tmp_path
