"""Data in two parts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ocompress.front.watching import Watched
from ocompress.io import Dataset, Feeds, Unlabelled, as_dataset, hold_out
from ocompress.io.dataset import Wrapped, cut_at, samples_in
from ocompress.io.holdout import MOST, PickedFeeds, held_count
from tests.build import Builder


class Alone(Wrapped):
    """Feeds that are one sample each and stay whole."""

    @property
    def cut_at(self) -> int:
        return 0

    def samples_in(self, feed: Feeds) -> int:
        return 1


def model(batch: object = "n", *, state: bool = False) -> object:
    b = Builder()
    x = b.input("x", [batch, 3])
    if state:
        x = b.op("Add", x, b.input("s", [1, 3]))
    b.op("Relu", x, to="y")
    b.output("y", [batch, 3])
    return b.model()


def rows_of(data: Dataset) -> np.ndarray:
    return np.concatenate([f["x"][:, 0] for f in data])


def numbered(count: int) -> np.ndarray:
    return np.arange(count, dtype=np.float32)[:, None].repeat(3, 1)


@pytest.mark.parametrize("form", ["memory", "npz", "npy", "folder"])
def test_every_sample_is_in_one_part(tmp_path: Path, form: str) -> None:
    x, labels = numbered(101), np.arange(101)
    source: object = {"x": x, "labels": labels}
    if form == "npz":
        np.savez(tmp_path / "d.npz", x=x, labels=labels)
        source = tmp_path / "d.npz"
    elif form == "npy":
        np.save(tmp_path / "d.npy", x)
        source = tmp_path / "d.npy"
    elif form == "folder":
        for at, piece in enumerate(np.array_split(x, 3)):
            np.savez(tmp_path / f"{at}.npz", x=piece)
        source = tmp_path
    parts = hold_out(as_dataset(source, model()))  # type: ignore[arg-type]
    fit, out = rows_of(parts.fit), rows_of(parts.held_out)
    assert parts.is_apart
    assert sorted([*fit, *out]) == x[:, 0].tolist()
    assert len(out) == parts.held_out.samples == held_count(101) == 34
    assert fit.tolist() == sorted(fit)
    if form in ("memory", "npz"):
        assert parts.held_out.labels is not None
        assert parts.held_out.labels.tolist() == out.tolist()
    assert rows_of(parts.held_out.take(5)).tolist() == out[:5].tolist()


def test_the_draw_is_random_and_repeatable() -> None:
    data = as_dataset({"x": numbered(200)}, model())  # type: ignore[arg-type]
    first, again, other = (rows_of(hold_out(data, seed=s).held_out).tolist() for s in (0, 0, 1))
    assert first == again != other
    assert np.ptp(first) > 150


def test_fixed_batches_and_whole_feeds_stay_whole() -> None:
    fixed = hold_out(as_dataset({"x": numbered(40)}, model(4)))  # type: ignore[arg-type]
    found = rows_of(fixed.held_out).reshape(-1, 4)
    assert (found - found[:, :1] == np.arange(4)).all()
    assert (found[:, 0] % 4 == 0).all()
    feeds = [{"x": numbered(2 + at) + 100 * at} for at in range(9)]
    listed = as_dataset(feeds, model(), labels=np.arange(sum(2 + at for at in range(9))))  # type: ignore[arg-type]
    parts = hold_out(listed)
    sizes = [len(f["x"]) for f in (*parts.fit, *parts.held_out)]
    assert sorted(sizes) == list(range(2, 11))
    assert len(parts.held_out) == 3
    assert parts.held_out.labels is not None
    assert len(parts.held_out.labels) == parts.held_out.samples
    assert len(parts.fit.take(1)) == 1


def test_an_input_that_all_feeds_share_stays() -> None:
    state = np.ones((1, 3), np.float32)
    data = as_dataset({"x": numbered(30), "s": state}, model(state=True))  # type: ignore[arg-type]
    for part in (hold_out(data).fit, hold_out(data).held_out):
        assert all(f["s"].shape == (1, 3) for f in part)


def test_what_cannot_be_divided_is_both_parts() -> None:
    one = as_dataset({"x": numbered(1)}, model())  # type: ignore[arg-type]
    assert not hold_out(one).is_apart
    whole = as_dataset({"x": numbered(32)}, model(32))  # type: ignore[arg-type]
    assert hold_out(whole).fit is hold_out(whole).held_out is whole
    data = as_dataset({"x": numbered(50)}, model())  # type: ignore[arg-type]
    assert not hold_out(data, share=0).is_apart


@pytest.mark.parametrize(
    ("samples", "held"), [(2, 1), (10, 3), (96, 32), (128, 43), (320, 64), (1024, 205)]
)
def test_few_samples_give_up_more(samples: int, held: int) -> None:
    assert held_count(samples) == held
    assert held_count(samples, 0.5) >= samples // 2


def test_of_many_samples_no_more_than_some_thousands_are_held_out() -> None:
    data = as_dataset({"x": numbered(30_000)}, model())  # type: ignore[arg-type]
    assert hold_out(data).held_out.samples == MOST < 0.2 * data.samples
    assert hold_out(data, most=700).held_out.samples == 700
    assert hold_out(data, share=0.3, most=None).held_out.samples == 9_000
    assert hold_out(data.take(20_000)).held_out.samples == 4_000
    fixed = as_dataset({"x": numbered(4_000)}, model(40))  # type: ignore[arg-type]
    assert hold_out(fixed, most=400).held_out.samples == 400
    assert hold_out(fixed, most=7).held_out.samples == 40


def test_wrapped_data_count_as_the_data_do() -> None:
    feeds = [{"x": numbered(3)} for _ in range(4)]
    data = as_dataset(feeds, model())  # type: ignore[arg-type]
    for wrapped in (Unlabelled(data), Watched(data, lambda *_: None), hold_out(data).fit):
        assert cut_at(wrapped) == cut_at(data)
        assert [samples_in(wrapped, f) for f in wrapped] == [3] * len(wrapped)
    whole = PickedFeeds(Alone(data), np.ones(4, bool))
    assert cut_at(Watched(whole, lambda *_: None)) == 0
    assert samples_in(Watched(whole, lambda *_: None), feeds[0]) == 1
