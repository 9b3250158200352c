"""Memory that was freed goes back to the system before a model is loaded."""

from __future__ import annotations

import platform

import numpy as np
import pytest

from ocompress import memory
from ocompress.runtime import Session
from tests.build import Builder
from tests.graphs import ZOO

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc keeps memory")
_PIECES, _SIZE = 4000, 100_000
"""Together 400 MB, each small enough for the heap."""


def fragmented() -> list[np.ndarray]:
    """Fill memory, and free all of it but a little here and there."""
    pieces = [np.ones(_SIZE, np.uint8) for _ in range(_PIECES)]
    return pieces[39::40]


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget what the process held before, which may be more than the tests take."""
    monkeypatch.setattr(memory, "_known", 0)
    monkeypatch.setattr(memory, "_GROWTH", 1.0)


def test_freed_memory_goes_back_when_a_model_is_loaded() -> None:
    model = ZOO["mlp"]()
    Session(model)
    before = memory.resident()
    kept = fragmented()
    assert memory.resident() - before > _PIECES * _SIZE * 0.8  # the heap keeps it
    Session(model)
    assert memory.resident() - before < _PIECES * _SIZE * 0.3
    assert kept[0].all()


@pytest.mark.parametrize(
    ("sizes", "calls"),
    [
        ([100, 100], 1),  # in MiB
        ([100, 160], 1),
        ([100, 170], 2),
        ([900, 300, 370], 2),  # it became less by itself meanwhile
    ],
)
def test_only_growth_is_worth_the_time(
    sizes: list[int], calls: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = list[int]()

    def trim(pad: int) -> None:
        done.append(pad)

    monkeypatch.setattr(memory, "_trim", lambda: trim)
    monkeypatch.setattr(memory, "monotonic", lambda: 0.0)
    for size in sizes:
        monkeypatch.setattr(memory, "resident", lambda size=size: size << 20)
        memory.give_back()
    assert len(done) == calls


@pytest.mark.parametrize(("size", "calls"), [(500, 1), (600, 3)])
def test_a_large_process_looks_now_and_then_even_so(
    size: int, calls: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = list[int]()

    def trim(pad: int) -> None:
        done.append(pad)

    monkeypatch.setattr(memory, "_trim", lambda: trim)
    monkeypatch.setattr(memory, "_when", 0.0)
    monkeypatch.setattr(memory, "resident", lambda: size << 20)
    for now in (1.0, 2.0, 10.9, 11.1, 20.0, 21.2):
        monkeypatch.setattr(memory, "monotonic", lambda now=now: now)
        memory.give_back()
    assert len(done) == calls


@pytest.mark.parametrize("as_deployed", [False, True])
def test_runs_that_make_much_give_memory_back(
    as_deployed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    b = Builder()
    b.output(b.op("Relu", b.input("x", ["n", 1 << 20])), ["n", 1 << 20])
    session = Session(b.model(), as_deployed=as_deployed)
    looks: list[int] = []
    monkeypatch.setattr(memory, "_made", 0)
    monkeypatch.setattr(memory, "give_back", lambda: looks.append(1))
    for _ in range(9):  # of 16 MiB
        session.run({"x": np.ones((4, 1 << 20), np.float32)})
    assert len(looks) == (0 if as_deployed else 2)
