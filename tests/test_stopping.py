"""Limits on runs, and temporary folders that do not outlive the process."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from ocompress import stopping
from ocompress.errors import TimeLimitError
from ocompress.stopping import WatchedRun, time_limit


class Work:
    """Goes on until it is stopped, and then fails as the runtime does."""

    def __init__(self) -> None:
        self._stopped = threading.Event()

    def go_on(self) -> None:
        with WatchedRun(self._stopped.set):
            assert self._stopped.wait(20)
            msg = "terminated"
            raise ValueError(msg)


def test_a_run_is_stopped_at_the_limit() -> None:
    with pytest.raises(TimeLimitError, match=r"longer than 0\.05 s"), time_limit(0.05):
        Work().go_on()


def test_the_innermost_limit_holds() -> None:
    with time_limit(100):
        assert stopping.limit() == 100
        with pytest.raises(TimeLimitError), time_limit(0.05):
            Work().go_on()
        assert stopping.limit() == 100
        with time_limit(0):
            assert stopping.limit() is None
    assert stopping.limit() is None


def test_a_run_that_ends_late_but_well_is_taken() -> None:
    stopped = threading.Event()
    with time_limit(0.05), WatchedRun(stopped.set):
        assert stopped.wait(20)


def test_a_run_is_stopped_as_the_process_ends() -> None:
    work = Work()
    threading.Timer(0.05, stopping.stop_everything).start()
    with pytest.raises(KeyboardInterrupt):
        work.go_on()


def test_what_goes_on_after_it_was_stopped_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    told = threading.Event()
    monkeypatch.setattr(stopping, "_GRACE_SECONDS", 0.05)
    monkeypatch.setattr(stopping, "on_overrun", [lambda _: told.set()])
    with time_limit(0.05), WatchedRun(lambda: None):
        assert told.wait(20)


def test_temporary_folders() -> None:
    class Owner:
        pass

    owner = Owner()
    owned = stopping.folder_for(owner)
    with stopping.temporary_folder() as folder:
        (folder / "file").touch()
        assert owned.is_dir()
    assert not folder.exists()
    del owner
    assert not owned.exists()


def test_all_folders_go_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(stopping, "_folders", set())
    (tmp_path / "a").mkdir()
    stopping.keep_track(tmp_path / "a")
    stopping.remove_everything()
    assert not (tmp_path / "a").exists()
