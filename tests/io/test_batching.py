"""Data cut as a model takes them, whatever its declaration says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto as T

from ocompress.analysis.observe import pieces_of
from ocompress.errors import DataError
from ocompress.io import Dataset, as_dataset, hold_out, load_data, synthetic_data
from ocompress.io.dataset import axes_of, cut_at, samples_in
from ocompress.ir import Model
from tests.build import Builder


def floats(*shape: int) -> np.ndarray:
    return np.random.default_rng(7).standard_normal(shape).astype(np.float32)


def reshaping(*shape: int) -> Model:
    """Return a model `x [n, 12]` with a Reshape that only some batches fit."""
    b = Builder()
    kept = b.op("Reshape", b.input("x", ["n", 12]), b.const(np.array(shape)))
    b.output(b.op("Relu", kept, to="y"), None)
    return b.model()


def averaging(*, flips_first: bool = False) -> Model:
    """Return a model `x [n, 3, 5]` that makes one result of four rows, as flips of a picture.

    With the flips on the first axis, four rows that follow each other are one result only if they
    are alone.
    """
    b = Builder()
    b.input("x", ["n", 3, 5])
    shape, axis = ([4, -1, 3], 0) if flips_first else ([-1, 4, 3], 1)
    fours = b.op("Reshape", b.op("ReduceMean", "x", axes=[2]), b.const(np.array(shape)))
    b.op("ReduceMean", fours, axes=[axis], keepdims=0, to="y")
    b.output("y", ["m", 3])
    return b.model()


def joining() -> Model:
    """Return a model whose samples change each other: all rows are one sequence."""
    b = Builder()
    steps = b.op("Reshape", b.input("x", ["n", 6]), b.const(np.array([1, -1, 6])))
    less = b.op("Sub", steps, b.op("ReduceMean", steps, axes=[1]))
    b.op("Reshape", less, b.const(np.array([-1, 6])), to="y")
    b.output("y", ["n", 6])
    return b.model()


def sizes(data: Dataset) -> list[int]:
    return [len(feed["x"]) for feed in data]


def notes(data: Dataset) -> str:
    return " ".join(getattr(data, "notes", ()))


# -- rows -----------------------------------------------------------------------------------


def test_a_baked_batch_of_one_makes_a_feed_of_each_sample() -> None:
    data = as_dataset({"x": floats(5, 12), "labels": np.arange(5)}, reshaping(1, 3, 4))
    assert sizes(data) == [1] * 5
    assert (data.samples, data.take(2).samples) == (5, 2)
    assert data.labels is not None
    assert "takes single samples only" in notes(data)
    parts = hold_out(data, share=0.4)
    assert sizes(parts.fit) + sizes(parts.held_out) == [1] * 5


def test_an_axis_along_which_no_feed_runs_is_no_batch() -> None:
    """With a baked batch of one, a feed of every sample's first step does not run either."""
    b = Builder()
    steps = b.op("Unsqueeze", b.input("x", ["n", "steps"]), b.const(np.array([2])))
    wide = b.op("Mul", steps, b.const(floats(4)))
    b.output(b.op("Reshape", wide, b.const(np.array([1, 0, 4])), to="y"), None)
    data = as_dataset({"x": floats(6, 5)}, b.model())
    assert [feed["x"].shape for feed in data] == [(1, 5)] * 6


@pytest.mark.parametrize(("mean_of", "axes", "samples"), [(0, {"x": 1}, 10), (1, {}, 4)])
def test_a_first_extent_that_is_fixed_may_count_steps_beside_an_open_batch(
    mean_of: int, axes: dict[str, int], samples: int
) -> None:
    b = Builder()
    x = b.input("x", [4, "n", 3])
    b.output(b.op("ReduceMean", x, axes=[mean_of], keepdims=0, to="y"), None)
    data = as_dataset({"x": floats(4, 10, 3)}, b.model())
    assert {n: a for n, a in axes_of(data).items() if a} == axes
    assert data.samples == samples


def test_samples_that_change_each_other_are_fed_alone() -> None:
    data = as_dataset({"x": floats(5, 6)}, joining())
    assert sizes(data) == [1] * 5
    assert "change each other's results" in notes(data)
    assert "so it is fed single samples" in notes(data)


@pytest.mark.parametrize("least", [0.5, 9.0])
def test_rows_that_give_as_many_results_as_are_found_are_fed_alone(least: float) -> None:
    """As boxes after NonMaxSuppression: a batch's are one list; `least` 9 finds none at all."""
    b = Builder()
    where = b.op("NonZero", b.op("Greater", b.input("x", ["n", 6]), b.const(np.float32(least))))
    b.op("GatherND", "x", b.op("Transpose", where, perm=[1, 0]), to="found")
    b.output("found", ["k"])
    data = as_dataset({"x": floats(5, 6)}, b.model())
    assert sizes(data) == [1] * 5
    assert "nothing tells whose results are whose" in notes(data)


def test_an_output_that_is_always_empty_says_nothing_of_the_batch() -> None:
    b = Builder()
    b.op("Relu", b.input("x", ["n", 6]), to="y")
    b.op(
        "Slice", "x", b.const(np.array([0])), b.const(np.array([0])), b.const(np.array([1])), to="z"
    )
    b.output("y", ["n", 6])
    b.output("z", ["n", 0])
    assert sizes(as_dataset({"x": floats(5, 6)}, b.model())) == [5]


def test_results_of_a_whole_batch_are_made_of_single_samples() -> None:
    b = Builder()
    b.op("ReduceMean", b.input("x", ["n", 3]), to="loss", keepdims=0)
    b.output("loss", [])
    assert sizes(as_dataset({"x": floats(4, 3)}, b.model())) == [1] * 4


def test_a_result_of_the_batch_beside_those_of_samples_changes_nothing() -> None:
    b = Builder()
    b.op("ReduceMean", b.input("x", ["n", 3]), to="loss", keepdims=0)
    b.output("loss", [])
    b.output(b.op("Relu", "x", to="y"), ["n", 3])
    assert sizes(as_dataset({"x": floats(4, 3)}, b.model())) == [4]


@pytest.mark.parametrize("precision", [T.FLOAT, T.FLOAT16])
def test_rounding_of_another_batch_is_no_change(precision: int) -> None:
    dtype = np.float32 if precision == T.FLOAT else np.float16
    b = Builder()
    b.op("MatMul", b.input("x", ["n", 64], precision), b.weight(64, 64, dtype=dtype), to="y")
    b.output("y", ["n", 64], precision)
    offset = 100 + floats(40, 64)
    assert sizes(as_dataset({"x": offset.astype(dtype)}, b.model())) == [32, 8]


def test_rows_that_make_one_result_stay_together() -> None:
    x = np.arange(50, dtype=np.float32)[:, None, None] + np.zeros((50, 3, 5), np.float32)
    data = as_dataset({"x": x}, averaging(), labels=np.arange(12))
    assert sizes(data) == [32, 16]
    assert data.samples == 12
    assert [samples_in(data, feed) for feed in data] == [8, 4]
    assert "multiples of 4 rows" in notes(data)
    assert "left out: the last 2 samples" in notes(data)
    assert sizes(data.take(1)) == [4]
    assert sizes(data.take(9)) == [32, 4]
    out = hold_out(data).held_out
    rows = np.concatenate([feed["x"][:, 0, 0] for feed in out]).reshape(-1, 4)
    assert (rows - rows[:, :1] == np.arange(4)).all()
    assert (rows[:, 0] % 4 == 0).all()
    assert out.labels is not None
    assert out.labels.tolist() == (rows[:, 0] / 4).tolist()


def test_rows_that_are_dealt_out_anew_in_larger_batches_are_alone() -> None:
    data = as_dataset({"x": floats(12, 3, 5)}, averaging(flips_first=True))
    assert sizes(data) == [4, 4, 4]
    assert data.samples == 3
    assert "change each other's results" in notes(data)
    assert "so it is fed 4 rows at a time" in notes(data)


def test_pieces_keep_rows_together() -> None:
    data = as_dataset({"x": floats(48, 3, 5)}, averaging())
    assert cut_at(data) == 4
    feed = next(iter(data))
    assert [len(p["x"]) for p in pieces_of(feed, 5, cut_at(data))] == [4] * 8
    assert [len(p["x"]) for p in pieces_of(feed, 3, cut_at(data))] == [8] * 4
    assert [len(p["x"]) for p in pieces_of(feed, 3, 0)] == [32]


@pytest.mark.parametrize("batch", [8, 40])
def test_a_baked_batch_is_found(batch: int) -> None:
    data = as_dataset({"x": floats(2 * batch + 3, 12)}, reshaping(batch, 3, 4))
    assert sizes(data) == [batch, batch]
    assert data.samples == 2 * batch
    assert cut_at(data) == 0
    assert f"batches of exactly {batch} rows" in notes(data)


def test_a_model_that_never_runs_is_left_to_others() -> None:
    data = as_dataset({"x": floats(5, 12)}, reshaping(7, 5))
    assert sizes(data) == [5]
    assert not notes(data)


def test_labels_of_rows_that_are_no_samples_are_refused() -> None:
    with pytest.raises(DataError, match="12 samples of 4 rows each but 48 labels"):
        as_dataset({"x": floats(48, 3, 5)}, averaging(), labels=np.arange(48))


# -- whole feeds ----------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["arrays", "feeds"])
def test_whole_feeds_that_cannot_be_cut_are_one_sample(form: str) -> None:
    x = floats(6, 4, 3, 5)
    data = as_dataset({"x": x} if form == "arrays" else [{"x": a} for a in x], averaging())
    assert (data.samples, len(data), cut_at(data)) == (6, 6, 0)
    assert [samples_in(data, feed) for feed in data] == [1] * 6
    assert cut_at(hold_out(data).fit) == 0
    assert hold_out(data).fit.samples == 4


@pytest.mark.parametrize("form", ["arrays", "feeds"])
def test_whole_feeds_of_batches_may_be_cut(form: str) -> None:
    b = Builder()
    b.op("Relu", b.input("x", ["n", 3]), to="y")
    b.output("y", ["n", 3])
    x = floats(6, 4, 3)
    data = as_dataset({"x": x} if form == "arrays" else [{"x": a} for a in x], b.model())
    assert (data.samples, cut_at(data)) == (24, 1)


# -- inputs of different kinds --------------------------------------------------------------


def recurrent(state: list[object]) -> Model:
    """Return a model `x [n, 3]` with a state `[2, batch, 4]` that is added to it."""
    b = Builder()
    b.input("x", ["n", 3])
    b.input("h", state)
    made = b.op("MatMul", "x", b.weight(3, 4))
    batch = b.op("Shape", "h", start=1, end=2)
    like = b.op("Concat", batch, b.const(np.array([4])), axis=0)
    kept = b.op("Reshape", made, like)  # refuses any other batch than the state's
    b.output(b.op("Add", kept, "h", to="y"), None)
    return b.model()


@pytest.mark.parametrize("state", [[2, 1, 4], [2, "n", 4], [2, "m", 4]])
def test_a_feed_a_leading_index_is_one_for_all_inputs(state: list[object]) -> None:
    x, h = floats(6, 3), floats(6, 2, 1, 4)
    feeds = list(as_dataset({"x": x, "h": h}, recurrent(state)))
    assert len(feeds) == 6
    np.testing.assert_array_equal(feeds[4]["x"], x[4:5])
    np.testing.assert_array_equal(feeds[4]["h"], h[4])


def test_a_state_of_several_rows_fixes_how_many_each_feed_has() -> None:
    x, h = floats(24, 3), floats(6, 2, 4, 4)
    data = as_dataset({"x": x, "h": h}, recurrent([2, 4, 4]))
    feeds = list(data)
    assert data.samples == 24
    np.testing.assert_array_equal(feeds[5]["x"], x[20:])
    np.testing.assert_array_equal(feeds[5]["h"], h[5])
    parts = hold_out(data)
    for feed in (*parts.fit, *parts.held_out):
        at = int(np.flatnonzero((h == feed["h"]).all(axis=(1, 2, 3)))[0])
        np.testing.assert_array_equal(feed["x"], x[4 * at : 4 * at + 4])


def test_a_state_for_all_feeds_fixes_their_batch() -> None:
    data = as_dataset({"x": floats(10, 3), "h": floats(2, 4, 4)}, recurrent([2, 4, 4]))
    assert sizes(data) == [4, 4]
    assert all(feed["h"].shape == (2, 4, 4) for feed in data)


@pytest.mark.parametrize("extent", ["n", None, "state"])
def test_a_state_whose_samples_are_on_another_axis_is_cut_along_it(extent: str | None) -> None:
    x, h = floats(40, 3), floats(2, 40, 4)
    data = as_dataset({"x": x, "h": h}, recurrent([2, extent, 4]))
    assert sizes(data) == [32, 8]
    np.testing.assert_array_equal(np.concatenate([f["h"] for f in data], axis=1), h)
    out = hold_out(data).held_out
    for feed in out:
        rows = [int(np.flatnonzero((x == row).all(axis=1))[0]) for row in feed["x"]]
        np.testing.assert_array_equal(feed["h"], h[:, rows])


# -- graphs ---------------------------------------------------------------------------------


def message_passing(*, dense: bool = False) -> Model:
    """Return a model that adds to each node what its neighbours are."""
    b = Builder()
    b.input("x", ["nodes", 3])
    if dense:
        summed = b.op("MatMul", b.input("edges", ["nodes", "nodes"]), "x")
    else:
        b.input("edges", [2, "edges"], T.INT64)
        b.ops("Split", ["edges"], ["from", "to"], axis=0)
        ends = [b.op("Squeeze", name, b.const(np.array([0]))) for name in ("from", "to")]
        seen = b.op("Gather", "x", ends[0], axis=0)
        at = b.op("Unsqueeze", ends[1], b.const(np.array([1])))
        wide = b.op("Expand", at, b.op("Shape", seen))
        summed = b.op("ScatterElements", "x", wide, seen, axis=0, reduction="add")
    b.output(b.op("MatMul", summed, b.weight(3, 2), to="y"), ["nodes", 2])
    return b.model(opset=16)


def graph(at: int, nodes: int, *, dense: bool) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(at)
    x = rng.standard_normal((nodes, 3)).astype(np.float32)
    if dense:
        return {"x": x, "edges": rng.integers(0, 2, (nodes, nodes)).astype(np.float32)}
    chain = np.arange(nodes)
    return {"x": x, "edges": np.stack([chain, chain[::-1]]).repeat(2, axis=1)}


@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("nodes", [lambda at: 5 + at, lambda _: 6], ids=["ragged", "alike"])
def test_a_file_with_a_graph_is_a_feed(
    dense: bool, nodes: Callable[[int], int], tmp_path: Path
) -> None:
    graphs = [graph(at, nodes(at), dense=dense) for at in range(4)]
    for at, made in enumerate(graphs):
        np.savez(tmp_path / f"{at}.npz", **made)  # type: ignore[arg-type]
    data = load_data(tmp_path, message_passing(dense=dense))
    assert len(data) == 4
    for feed, made in zip(data, graphs, strict=True):
        np.testing.assert_array_equal(feed["x"], made["x"])
        np.testing.assert_array_equal(feed["edges"], made["edges"])
    assert cut_at(data) == 0
    assert len(hold_out(data).fit) == 3
    assert len(load_data(tmp_path, message_passing(dense=dense), samples=1)) == 1


def test_a_file_with_parts_of_different_length_is_a_feed() -> None:
    b = Builder()
    pooled = b.op("ReduceSum", b.input("edges", ["e", 3]), b.const(np.array([0])))
    b.output(b.op("Add", b.input("x", ["n", 3]), pooled, to="y"), ["n", 3])
    (feed,) = as_dataset({"x": floats(5, 3), "edges": floats(9, 3)}, b.model())
    assert (len(feed["x"]), len(feed["edges"])) == (5, 9)


def test_files_of_pictures_of_different_size_follow_the_first(tmp_path: Path) -> None:
    b = Builder()
    b.op("Reshape", b.input("x", ["n", 1, "w"]), b.const(np.array([1, -1])), to="y")
    b.output("y", [1, "k"])
    for width in (4, 6):
        np.save(tmp_path / f"{width}.npy", floats(2, 1, width))
    data = load_data(tmp_path, b.model())
    assert [f["x"].shape for f in data] == [(1, 1, 4)] * 2 + [(1, 1, 6)] * 2
    assert "fed single samples" in notes(data)


# -- random numbers -------------------------------------------------------------------------


def test_random_feeds_have_a_batch_that_runs() -> None:
    assert sizes(synthetic_data(averaging(), 2)) == [4]
    feeds = list(synthetic_data(recurrent([2, 12, 4]), 1))
    assert feeds[0]["x"].shape == (12, 3)


def _tagger() -> Model:
    """Return a recurrent net that gives each word of one or more sentences the same class."""
    b = Builder()
    words = b.op("Gather", b.const(np.eye(8, dtype=np.float32)), b.input("x", ["n", "t"], T.INT64))
    steps = b.op("Transpose", words, perm=[1, 0, 2])
    b.ops("RNN", [steps, b.weight(1, 4, 8), b.weight(1, 4, 4)], ["h", ""], hidden_size=4)
    flat = b.op("Squeeze", "h", b.const(np.array([1])))
    rise = b.const(np.array([9, 0, 0, 0], np.float32))
    tags = b.op("ArgMax", b.op("Add", flat, rise), axis=-1, keepdims=0)
    b.output(b.op("Transpose", tags, perm=[1, 0]), ["n", "t"], T.INT64)
    return b.model()


def test_one_class_for_all_words_does_not_make_words_samples() -> None:
    feeds = [{"x": np.arange(length)[None] % 8} for length in (5, 7)]
    data = as_dataset(feeds, _tagger())
    assert axes_of(data) == {}
    assert data.samples == 2


def _scattered() -> Model:
    """Return a net that writes points to a map of its own size, however many there are."""
    b = Builder()
    x = b.op("MatMul", b.input("x", ["n", 3]), b.weight(3, 2))
    at = b.op("Unsqueeze", b.input("at", ["n"], T.INT64), b.const(np.array([1])))
    board = b.const(np.zeros((16, 2), np.float32))
    b.output(b.op("ScatterND", board, at, x), [16, 2])
    return b.model()


def test_files_of_points_that_make_one_map_are_a_feed_each(tmp_path: Path) -> None:
    """The points of one file are alike in number to those of another, and are no samples."""
    for at in range(4):
        np.savez(tmp_path / f"{at}.npz", x=floats(5, 3), at=np.arange(5) + at)
    data = load_data(tmp_path, _scattered())
    assert [feed["x"].shape for feed in data] == [(5, 3)] * 4
    assert data.samples == 4
    assert "each file as one feed only" in notes(data)
