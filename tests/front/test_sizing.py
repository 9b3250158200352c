"""Limits on the size of files that no pass that was asked for can come nearer to."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import ocompress
from ocompress.ir import Model
from ocompress.pipeline import Instrument, Pass, PassRecord
from tests.build import Builder

X = np.random.default_rng(1).standard_normal((64, 16)).astype(np.float32)


def net() -> Model:
    b = Builder()
    h = b.op("Relu", b.op("MatMul", b.input("x", ["n", 16]), b.weight(16, 64)))
    b.op("MatMul", h, b.weight(64, 16), to="y")
    b.output("y", ["n", 16])
    return b.model()


class Told(Instrument):
    """Notes what is said, and which passes have run by then."""

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.said: list[tuple[str, list[str]]] = []

    def announce(self, sentence: str) -> None:
        """Note it."""
        self.said.append((sentence, [*self.ran]))

    def after_pass(self, item: Pass, model: Model, record: PassRecord) -> None:
        """Note it."""
        self.ran.append(item.name)


def warned(
    passes: str, output: Path, limit: float | None, storage: str = "plain"
) -> list[tuple[str, list[str]]]:
    told = Told()
    ocompress.optimize(
        net(),
        output,
        passes=passes,
        data=X,
        max_size=limit,
        max_drop=1.0,
        storage=storage,
        measure=False,
        instruments=[told],
    )
    return [found for found in told.said if "max size cannot hold" in found[0]]


@pytest.mark.parametrize("passes", ["entropy", "prune,entropy", "cluster", "binarize"])
def test_that_rounding_makes_no_onnx_smaller_is_told_at_once(passes: str, tmp_path: Path) -> None:
    ((said, ran),) = warned(passes, tmp_path / "o.onnx", 0.5)
    assert "whatever " + passes.replace(",", " and ") in said
    assert "name an .ocz file" in said
    assert ran == ["canonicalize"]


@pytest.mark.parametrize(
    ("passes", "output", "limit", "storage"),
    [
        ("cluster{bits=2}", "o.ocz", 0.5, "plain"),
        ("cluster{bits=2}", "o.onnx", 0.5, "packed"),
        ("cluster{bits=2},quant-weights", "o.onnx", 0.6, "plain"),
        ("cluster{bits=2}", "o.onnx", 1.0, "plain"),
        ("cluster{bits=2}", "o.onnx", None, "plain"),
    ],
)
def test_limits_that_may_hold_are_told_nothing_of(
    passes: str, output: str, limit: float | None, storage: str, tmp_path: Path
) -> None:
    assert not warned(passes, tmp_path / output, limit, storage)
