"""What `inspect` says each pass would do, in little time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import pytest

import ocompress
from ocompress.front.survey import survey
from ocompress.io import Dataset, as_dataset
from ocompress.ir import Model
from ocompress.pipeline import Context, Instrument, Outcome, Pass, all_passes
from ocompress.report.survey import Prospect
from passes.factorization.factorize import Factorize
from passes.quantization.quant import Quant
from tests.build import Builder


def net() -> Model:
    """Return convolutions `x [n, 3, 8, 8]` with a branch that may go, and a product."""
    b = Builder()
    x = b.op("Conv", b.input("x", ["n", 3, 8, 8]), b.weight(32, 3, 3, 3), pads=[1] * 4)
    x = b.op("Relu", x)
    y = b.op("Conv", x, b.weight(32, 32, 3, 3), pads=[1] * 4, to="inside")
    x = b.op("Relu", b.op("Add", x, b.op("Conv", b.op("Relu", y), b.weight(32, 32, 1, 1))))
    x = b.op("Flatten", b.op("GlobalAveragePool", x))
    b.op("Gemm", x, b.weight(10, 32), transB=1, to="y")
    b.output("y", ["n", 10])
    return b.model()


IMAGES = {"x": np.random.default_rng(0).standard_normal((48, 3, 8, 8)).astype(np.float32)}


def told(model: Model, data: object = None) -> dict[str, Prospect]:
    return {p.name: p for p in survey(model, data=data).prospects}  # type: ignore[arg-type]


class Counting:
    """A dataset that counts the feeds that are read."""

    labels = None
    source = "counted"

    def __init__(self, data: Dataset, reads: list[int]) -> None:
        self._data, self._reads = data, reads

    @property
    def samples(self) -> int:
        return self._data.samples

    def __len__(self) -> int:
        return len(self._data)

    def __iter__(self) -> Iterator[Mapping[str, np.ndarray]]:
        for feed in self._data:
            self._reads.append(len(feed["x"]))
            yield feed

    def take(self, samples: int) -> Counting:
        return Counting(self._data.take(samples), self._reads)


@pytest.mark.parametrize("data", [None, IMAGES], ids=["without-data", "with-data"])
def test_passes_say_what_they_would_take_up(data: object) -> None:
    found = told(net(), data)
    assert not [p.problem for p in found.values() if p.problem]
    assert found["factorize"].counts == {"layers that may be replaced": 4, "% of the work": 100}
    assert found["separable"].counts["layers that may be replaced"] == 2
    assert found["separable"].declined["no-form"] == 2
    assert found["prune-layers"].counts == {"branches that may go": 1}
    assert found["quant"].counts["Conv that may become int8"] == 3
    assert found["prune-channels"].counts["groups cut"]
    assert found["quant"].needs_data is (data is None)


def test_no_more_than_one_sample_is_read() -> None:
    model, reads = net(), list[int]()
    told(model, Counting(as_dataset(IMAGES, model), reads))
    assert reads
    assert set(reads) == {1}


def test_nothing_is_fitted(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError

    monkeypatch.setattr(Factorize, "build", never)
    monkeypatch.setattr(Quant, "run", never)
    assert not [p.problem for p in told(net(), IMAGES).values() if p.problem]


def test_what_is_said_of_channels_is_what_becomes_of_them() -> None:
    made = ocompress.optimize(net(), passes="prune-channels", measure=False)
    assert told(net())["prune-channels"].counts == made.pipeline.records[-1].counts


def test_every_pass_is_named_as_its_turn_comes() -> None:
    class Names(Instrument):
        def __init__(self) -> None:
            self.seen: list[str] = []

        def before_pass(self, item: Pass, model: Model) -> None:
            self.seen.append(item.name)

    names = Names()
    survey(net(), data=IMAGES, instruments=(names,))
    assert sorted(names.seen) == sorted(c.name for c in all_passes() if not c.internal)


def test_a_pass_that_needs_data_and_has_no_preview_is_run_with_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def run(_: Quant, __: Model, ctx: Context) -> Outcome:
        return Outcome(counts={"samples seen": ctx.data.samples})

    monkeypatch.setattr(Quant, "run", run)
    monkeypatch.setattr(Quant, "preview", Pass.preview)
    assert told(net(), IMAGES)["quant"].counts == {"samples seen": 48}
    assert told(net())["quant"].problem == "needs data; give some with --data"
