"""A folder with one graph of nodes and edges per file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto as T

from ocompress.errors import DataError
from ocompress.io import as_dataset
from ocompress.io.dataset import samples_in
from ocompress.io.holdout import hold_out
from tests.build import Builder


def test_each_file_counts_its_own_nodes(tmp_path: Path) -> None:
    b = Builder()
    x, edges = b.input("x", ["n", 4]), b.input("edges", [2, "e"], T.INT64)
    ends = [b.op("Gather", edges, b.const(np.array([end])), axis=0) for end in (0, 1)]
    sender, receiver = (b.op("Reshape", end, b.const(np.array([-1]))) for end in ends)
    sent = b.op("Gather", x, sender, axis=0)
    places = b.op("Unsqueeze", receiver, b.const(np.array([1])))
    got = b.op("ScatterND", x, places, sent, reduction="add")
    b.op("MatMul", got, b.weight(4, 3), to="y")
    b.output("y", ["n", 3])
    model = b.model()
    rng = np.random.default_rng(0)
    nodes = [9, 20, 31, 14, 25, 18]
    for number, count in enumerate(nodes):
        rows = rng.standard_normal((count, 4)).astype(np.float32)
        pairs = rng.integers(0, count, (2, 3 * count))
        np.savez(tmp_path / f"{number}.npz", x=rows, edges=pairs)
    data = as_dataset(tmp_path, model)
    assert [samples_in(data, feed) for feed in data] == nodes
    parts = hold_out(data, seed=0)
    assert parts.fit.samples + parts.held_out.samples == data.samples == sum(nodes)
    assert parts.held_out.samples > 0


def test_nodes_may_be_counted_by_several_inputs(tmp_path: Path) -> None:
    """Nodes, edges and residues, counted by two inputs each; a file is one feed."""
    b = Builder()
    names = {"atoms": "n", "charges": "n", "distances": "e", "bonds": "e", "targets": "r"}
    for name, extent in names.items():
        h = b.op("MatMul", b.input(name, [extent, 4]), b.weight(4, 3))
        b.output(b.op("ReduceMean", h, keepdims=1), [1, 1])
    model = b.model()
    rng = np.random.default_rng(0)
    counts = {"n": 8, "e": 24, "r": 3}
    rows = {n: rng.standard_normal((counts[e], 4)).astype(np.float32) for n, e in names.items()}
    for number in range(5):
        np.savez(tmp_path / f"{number}.npz", allow_pickle=False, **rows)
    assert [{n: len(a) for n, a in feed.items()} for feed in as_dataset(tmp_path, model)] == [
        {n: counts[e] for n, e in names.items()}
    ] * 5


def test_inputs_of_one_name_that_differ_in_length_are_refused(tmp_path: Path) -> None:
    b = Builder()
    for name in ("x", "y"):
        b.output(b.op("Relu", b.input(name, ["n", 4])), ["n", 4])
    path = tmp_path / "d.npz"
    arrays = {n: np.ones((count, 4), np.float32) for n, count in (("x", 6), ("y", 8))}
    np.savez(path, allow_pickle=False, **arrays)
    with pytest.raises(DataError, match="differ in length"):
        as_dataset(path, b.model())
