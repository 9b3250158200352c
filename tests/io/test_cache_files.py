"""Folders of files for later runs stay bounded, and many processes may share one."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path

from ocompress.io import CacheFiles

TEN = b"0123456789"


def files(folder: Path, most_bytes: int = 1 << 20, most_files: int = 1000) -> CacheFiles:
    return CacheFiles(folder, ".bin", most_bytes, most_files)


def test_what_is_written_is_read_by_its_key(tmp_path: Path) -> None:
    home = tmp_path / "new" / "folder"
    assert files(home).read(("a", 1)) is None
    assert files(home).write(("a", 1), TEN)
    assert files(home).read(("a", 1)) == TEN
    assert files(home).read(("a", 2)) is None
    (tmp_path / "file").write_text("")
    assert not files(tmp_path / "file").write("a", TEN)


def test_the_last_used_stay_and_other_files_are_left_alone(tmp_path: Path) -> None:
    stranger = tmp_path / "model.bin"
    stranger.write_bytes(TEN * 100)
    small = files(tmp_path, most_bytes=100)
    for number in range(8):
        small.write(number, TEN)
        os.utime(small.path(number), ns=(number, number))
    assert small.read(0) == TEN  # used now, so that it is the last that goes
    for number in range(8, 12):
        small.write(number, TEN)
    kept = [n for n in range(12) if small.path(n).exists()]
    assert sum(small.path(n).stat().st_size for n in kept) <= 100
    assert {0, 11} <= set(kept)
    assert 1 not in kept
    assert stranger.exists()


def test_their_number_is_bounded(tmp_path: Path) -> None:
    small = files(tmp_path, most_files=20)
    for number in range(100):
        small.write(number, b"")
    assert len(list(tmp_path.iterdir())) <= 22  # one look after each tenth of them


def test_many_write_and_read_at_once(tmp_path: Path) -> None:
    fresh = multiprocessing.get_context("spawn")
    with fresh.Pool(2) as pool:
        wrong = pool.starmap(write_and_read, [(tmp_path, seed) for seed in range(4)])
    assert wrong == [0, 0, 0, 0]
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 4000 + 4 * 400


def write_and_read(folder: Path, seed: int) -> int:
    """Return how many contents came back as something else than was written."""
    shared, wrong = files(folder, most_bytes=4000), 0
    for step in range(60):
        number = (seed * 31 + step * 7) % 50
        content = f"{number:4d}".encode() * 50
        shared.write(number, content)
        found = shared.read(number)
        wrong += found is not None and found != content
    return wrong


def test_what_others_may_have_written_is_not_read(tmp_path: Path) -> None:
    kept = files(tmp_path)
    kept.write("a", TEN)
    assert kept.read("a", own=True) == TEN
    kept.path("a").chmod(0o666)
    assert kept.read("a", own=True) is None
    assert kept.read("a") == TEN
