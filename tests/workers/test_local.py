"""Workers of this machine."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ocompress.errors import DataError, OptionError, WorkerLostError
from ocompress.workers import Parcel, open_workers, unpacked
from ocompress.workers.local import Processes, _Call
from tests.workers import calls


def test_one_worker_is_this_process() -> None:
    with open_workers() as pool:
        assert pool.submit(calls.process_of, 1).result() == os.getpid()
        assert isinstance(pool.submit(calls.fail, 3).exception(), DataError)


def test_processes_run_calls_and_only_the_call_of_a_killed_one_is_done_again(
    tmp_path: Path,
) -> None:
    with open_workers(2) as pool:
        killed = pool.submit(calls.die_once, str(tmp_path / "note"))
        others = [pool.submit(calls.double, n) for n in range(4)]
        assert [f.result() for f in others] == [0, 2, 4, 6]
        assert killed.result() == "done"
        assert pool.submit(calls.process_of, 1).result() != os.getpid()
        with pytest.raises(DataError, match="3 is wrong"):
            pool.submit(calls.fail, 3).result()
        with pytest.raises(WorkerLostError, match="use fewer workers"):
            pool.submit(calls.die).result()


def test_nothing_runs_beside_what_is_timed(tmp_path: Path) -> None:
    with open_workers(2) as pool:
        some = [pool.submit(calls.beside, str(tmp_path), f"n{i}", 9) for i in range(2)]
        timed = pool.submit(calls.beside, str(tmp_path), "timed", 9, timed=True)
        more = [pool.submit(calls.beside, str(tmp_path), f"m{i}", 9) for i in range(2)]
        assert timed.result() == 1
        assert all(f.result() >= 1 for f in (*some, *more))


def test_calls_with_something_in_common_go_to_the_process_that_knows_it() -> None:
    with open_workers(2) as pool:
        asked = [(near, pool.submit(calls.process_of, 1, near=[near])) for near in "abababab"]
        homes = {near: {f.result() for n, f in asked if n == near} for near in "ab"}
    assert all(len(home) == 1 for home in homes.values())


def test_of_what_nobody_knows_a_process_takes_what_is_nearest_to_what_it_did() -> None:
    pool = open_workers(2)
    assert isinstance(pool, Processes)
    with pool:
        one, other = pool._members
        asked = [_Call(calls.double, (1,), False, (f"{x} 2", x)) for x in "cba"]
        with pool._changed:  # nobody begins anything
            pool._waiting[:] = asked
            for member, name in ((one, "a"), (other, "b")):
                member.knows.update((f"{name} 1", name))
            assert [pool._next(m) for m in (one, other)] == [asked[2], asked[1]]
            other.busy = "a 2"  # and is about to learn it
            assert pool._next(one) is asked[0]
            pool._waiting.clear()


def test_leaving_cuts_off_what_runs_and_cleans_up_after_it(tmp_path: Path) -> None:
    note = tmp_path / "note"
    with open_workers(2) as pool:
        running = pool.submit(calls.wait_for_end, str(note))
        waiting = [pool.submit(calls.wait_for_end, str(tmp_path / "other")) for _ in range(3)]
        while not (note.exists() and note.read_text()):
            assert not running.done()
    assert isinstance(running.exception(), WorkerLostError)
    assert waiting[-1].cancelled()
    assert not Path(note.read_text()).exists()


def test_wrong_workers() -> None:
    with pytest.raises(OptionError, match="1 or more"):
        open_workers(0)
    with pytest.raises(OptionError, match="contradicts"):
        open_workers(2, "tcp://127.0.0.1:1")


def test_parcels_are_found_by_their_content(tmp_path: Path) -> None:
    for name, content in (("a.onnx", b"a"), ("w/a.data", b"w"), ("b.onnx", b"a")):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    one = Parcel.of(tmp_path / "a.onnx", [tmp_path / "w" / "a.data"])
    there = unpacked(one)
    assert there.read_bytes() == b"a"
    assert (there.parent / "w" / "a.data").read_bytes() == b"w"
    assert unpacked(Parcel.of(tmp_path / "a.onnx", [tmp_path / "w" / "a.data"])) == there
    assert Parcel.of(tmp_path / "a.onnx").key != one.key != Parcel.of(tmp_path / "b.onnx").key
    folder = unpacked(Parcel.of(tmp_path / "w"))
    assert [p.name for p in folder.iterdir()] == ["a.data"]
