"""Data of models whose samples do not lie on the first axis, as `[steps, batch, features]`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto as T

from ocompress.errors import DataError
from ocompress.io import Dataset, as_dataset, hold_out, load_data, synthetic_data
from ocompress.io.batch_axes import batch_axes
from ocompress.io.dataset import axes_of, cut_at, samples_in
from ocompress.io.one_call import one_call
from ocompress.ir import Model
from ocompress.profiling import profile
from tests.build import Builder, InMemory

STEPS, SAMPLES, WIDTH = 7, 40, 3
Dims = Sequence[int | str | None]


def floats(*shape: int) -> np.ndarray:
    return np.random.default_rng(7).standard_normal(shape).astype(np.float32)


def recurrent(
    shape: Dims = ("T", "N", WIDTH),
    *,
    before: Callable[[Builder, str], str] | None = None,
    state: Dims | None = None,
    layout: int = 0,
) -> Model:
    """Return a GRU of two units with a layer on top, and its state as an input if one is given."""
    b = Builder()
    x = b.input("x", list(shape))
    h = b.input("h", list(state)) if state is not None else ""
    read = before(b, x) if before is not None else x
    w, r = b.weight(1, 6, WIDTH), b.weight(1, 6, 2)
    attrs = {"layout": 1} if layout else {}
    b.ops("GRU", [read, w, r, "", "", h], ["seen", "last"], hidden_size=2, **attrs)
    axis = 2 if layout else 1
    flat = b.op("Squeeze", "seen", b.const(np.array([axis])))
    b.output(b.op("MatMul", flat, b.weight(2, 4), to="y"), None)
    return b.model()


def attending() -> Model:
    """Return attention over the first axis: nothing but the numbers tells where samples are."""
    b = Builder()
    x = b.input("x", ["T", "N", WIDTH])
    turned = b.op("Transpose", x, perm=[1, 0, 2])
    scores = b.op("MatMul", turned, b.op("Transpose", turned, perm=[0, 2, 1]))
    mixed = b.op("MatMul", b.op("Softmax", scores, axis=-1), turned)
    b.output(b.op("Transpose", mixed, perm=[1, 0, 2], to="y"), ["T", "N", WIDTH])
    return b.model()


def turned(b: Builder, x: str) -> str:
    return b.op("Transpose", b.op("Relu", x), perm=[1, 0, 2])


def embedded(b: Builder, x: str) -> str:
    return b.op("Gather", b.weight(9, WIDTH), x)


def lifted(b: Builder, x: str) -> str:
    return b.op("Unsqueeze", b.op("Mul", x, b.const(np.float32(2))), b.const(np.array([1])))


def dense(b: Builder, x: str) -> str:
    return b.op("Add", b.op("MatMul", x, b.weight(WIDTH, WIDTH)), b.weight(WIDTH))


# -- the graph ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "axes"),
    [
        (recurrent(), {"x": 1}),
        (recurrent(before=dense), {"x": 1}),
        (recurrent(before=turned), {"x": 0}),
        (recurrent(layout=1), {"x": 0}),
        (recurrent(("T", WIDTH), before=lifted), {"x": None}),
        (recurrent(state=[1, "N", 2]), {"x": 1, "h": 1}),
        (recurrent(before=turned, state=[1, "N", 2]), {"x": 0, "h": 1}),
        (attending(), {}),
    ],
)
def test_the_batch_is_followed_from_recurrent_layers(model: Model, axes: dict[str, Any]) -> None:
    assert batch_axes(model) == axes


def test_tokens_and_a_mask_of_the_same_names() -> None:
    b = Builder()
    b.input("ids", ["T", "N"], T.INT64)
    b.input("mask", ["N", "T"])
    seen = b.op("Gather", b.weight(9, WIDTH), "ids")
    b.ops("RNN", [seen, b.weight(1, 2, WIDTH), b.weight(1, 2, 2)], ["h"], hidden_size=2)
    b.output(b.op("ReduceSum", "mask", b.const(np.array([1])), to="m"), None)
    b.output("h", None)
    assert batch_axes(b.model()) == {"ids": 1, "mask": 0}


# -- arrays ---------------------------------------------------------------------------------


def whole_sequences(data: Dataset, x: np.ndarray) -> list[int]:
    """Return which samples feeds hold, each with all of its steps."""
    found = []
    for feed in data:
        assert samples_in(data, feed) == feed["x"].shape[1]
        for column in np.moveaxis(feed["x"], 1, 0):
            found += [n for n in range(x.shape[1]) if np.array_equal(x[:, n], column)]
    assert len(found) == data.samples
    return found


@pytest.mark.parametrize(
    "model",
    [recurrent(), recurrent((STEPS, "N", WIDTH)), recurrent((None, None, WIDTH)), attending()],
)
def test_sequences_are_samples(model: Model) -> None:
    x, labels = floats(STEPS, SAMPLES, WIDTH), np.arange(SAMPLES)
    data = as_dataset({"x": x}, model, labels=labels)
    assert data.samples == SAMPLES
    assert [f["x"].shape for f in data] == [(STEPS, 32, WIDTH), (STEPS, 8, WIDTH)]
    parts = hold_out(data)
    fit, held = whole_sequences(parts.fit, x), whole_sequences(parts.held_out, x)
    assert sorted(fit + held) == list(range(SAMPLES))
    assert parts.held_out.labels is not None
    assert parts.held_out.labels.tolist() == held
    assert next(iter(data.take(1)))["x"].shape == (STEPS, 1, WIDTH)
    (call,) = one_call(model, data, 45)  # some come over again
    assert call["x"].shape == (STEPS, 45, WIDTH)


def test_time_major_is_said_and_batch_first_is_not() -> None:
    x = floats(STEPS, SAMPLES, WIDTH)
    (note,) = as_dataset({"x": x}, recurrent()).notes  # type: ignore[attr-defined]
    assert note == "'x' is time-major: axis 1 counts samples, the one before it steps"
    first = as_dataset({"x": np.moveaxis(x, 0, 1)}, recurrent(before=turned))
    assert (getattr(first, "notes", ()), first.samples, cut_at(first)) == ((), SAMPLES, 1)


def test_a_fixed_batch_is_that_of_its_axis() -> None:
    x = floats(STEPS, 9, WIDTH)
    data = as_dataset({"x": x}, recurrent(("T", 4, WIDTH)))
    assert [f["x"].shape for f in data] == [(STEPS, 4, WIDTH)] * 2
    assert (data.samples, cut_at(data)) == (8, 0)
    with pytest.raises(DataError, match="2 samples, the model wants batches of 4"):
        as_dataset({"x": x[:, :2]}, recurrent(("T", 4, WIDTH)))


def test_states_go_with_their_sequences() -> None:
    x, h = floats(STEPS, SAMPLES, WIDTH), floats(1, SAMPLES, 2)
    model = recurrent(state=[1, "N", 2])
    for feed in hold_out(as_dataset({"x": x, "h": h}, model)).held_out:
        for n in range(feed["x"].shape[1]):
            at = next(i for i in range(SAMPLES) if np.array_equal(x[:, i], feed["x"][:, n]))
            np.testing.assert_array_equal(feed["h"][:, n], h[:, at])
    with pytest.raises(DataError, match=r"differ in length along axis 1 \(x 40, h 39\)"):
        as_dataset({"x": x, "h": h[:, :39]}, model)


def test_a_lone_sequence_is_one_feed() -> None:
    model = recurrent(("T", WIDTH), before=lifted)
    data = as_dataset({"x": floats(STEPS, WIDTH)}, model)
    assert [f["x"].shape for f in data] == [(STEPS, WIDTH)]
    assert (data.samples, cut_at(data), hold_out(data).is_apart) == (1, 0, False)
    assert "the array is one sample" in " ".join(getattr(data, "notes", ()))
    several = as_dataset({"x": floats(6, STEPS, WIDTH)}, model)
    assert [f["x"].shape for f in several] == [(STEPS, WIDTH)] * 6
    assert (several.samples, cut_at(several), hold_out(several).is_apart) == (6, 0, True)
    steps = as_dataset({"x": floats(3 * STEPS, WIDTH)}, recurrent((STEPS, WIDTH), before=lifted))
    assert ([len(f["x"]) for f in steps], steps.samples) == ([STEPS] * 3, 3)


def test_two_sequences_of_different_length_share_their_batch() -> None:
    b = Builder()
    src, tgt = b.input("src", ["S", "N", WIDTH]), b.input("tgt", ["T", "N", WIDTH])
    pooled = b.op("ReduceMean", src, axes=[0])
    b.output(b.op("Add", tgt, pooled, to="y"), ["T", "N", WIDTH])
    data = as_dataset(
        {"src": floats(5, SAMPLES, WIDTH), "tgt": floats(4, SAMPLES, WIDTH)}, b.model()
    )
    assert data.samples == SAMPLES
    assert axes_of(data) == {"src": 1, "tgt": 1}


# -- feeds and files ------------------------------------------------------------------------


@pytest.mark.parametrize("model", [recurrent(), attending()])
@pytest.mark.parametrize("form", ["list", "leading"])
def test_whole_feeds_count_their_sequences(model: Model, form: str) -> None:
    x = floats(3, STEPS, 5, WIDTH)
    data = as_dataset([{"x": a} for a in x] if form == "list" else {"x": x}, model)
    assert (len(data), data.samples, cut_at(data)) == (3, 15, 0)
    assert [f["x"].shape for f in data] == [(STEPS, 5, WIDTH)] * 3


@pytest.mark.parametrize("model", [recurrent(), attending()])
def test_files_are_not_joined_along_time(model: Model, tmp_path: Path) -> None:
    x = floats(STEPS, 10, WIDTH)
    for number in range(2):
        np.savez(tmp_path / f"{number}.npz", x=x[:, 5 * number :][:, :5])
    data = load_data(tmp_path, model)
    assert (data.samples, [f["x"].shape for f in data]) == (10, [(STEPS, 5, WIDTH)] * 2)


def test_random_feeds_and_profiles_have_one_sequence() -> None:
    model = recurrent()
    made = synthetic_data(model, 3)
    assert [f["x"].shape[1] for f in made] == [1, 1, 1]
    assert made.samples == 3
    quick = {"runs": 2, "warmup": 0, "memory": False}
    costs = []
    for count in (1, 8):
        data = as_dataset({"x": floats(16, count, WIDTH)}, model)
        found = profile(model, data=data, **quick).model  # type: ignore[arg-type]
        assert found.latency.samples == count
        costs.append(found.cost.total_macs)
    costs.append(profile(model, **quick).model.cost.total_macs)  # type: ignore[arg-type]
    assert len(set(costs)) == 1
    assert costs[0]


def test_other_makers_data_are_left_as_they_are() -> None:
    given = InMemory([{"x": floats(STEPS, 2, WIDTH)}])
    assert as_dataset(given, recurrent()) is given
