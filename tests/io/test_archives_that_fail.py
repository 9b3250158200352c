"""Archives on disks that are full, files that cannot be read, and bases that are others."""

from __future__ import annotations

import errno
import mmap
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import BinaryIO, NoReturn

import onnx
import pytest

import ocompress
from ocompress.archive import Archive
from ocompress.archive.index import PackedFile
from ocompress.errors import InvalidModelError, OutputError, UsageError
from ocompress.front.archives import in_archive
from ocompress.io import load_model, pack_model, unpack_model
from tests.archive.samples import save_external, small_model

READERS: dict[str, Callable[[Path], object]] = {
    "load_model": load_model,
    "load_archive": ocompress.load_archive,
}
BY_READER = pytest.mark.parametrize("read", READERS.values(), ids=READERS)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """An archive of a model with external data, alone in its folder."""
    here = tmp_path / "here"
    here.mkdir()
    save_external(str(tmp_path), onnx.load_from_string(small_model()), "m.onnx")
    pack_model(tmp_path / "m.onnx", here / "m.ocz")
    return here / "m.ocz"


def have_free(monkeypatch: pytest.MonkeyPatch, free: int) -> list[Path]:
    """Have all disks so much room; return the folders that were asked about."""
    asked: list[Path] = []

    def usage(folder: Path) -> SimpleNamespace:
        asked.append(folder)
        return SimpleNamespace(free=free)

    monkeypatch.setattr(shutil, "disk_usage", usage)
    return asked


def full(*_: object, **__: object) -> NoReturn:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_disk_that_is_too_small_is_noticed_before_any_work(
    archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = Archive(archive)
    assert len(opened.files) == 2
    written: list[str] = []
    work = Archive.write_file

    def write_file(self: Archive, file: PackedFile, stream: BinaryIO) -> None:
        written.append(file.name)
        work(self, file, stream)

    monkeypatch.setattr(Archive, "write_file", write_file)
    asked = have_free(monkeypatch, opened.size - 1)
    with pytest.raises(OutputError, match=r"m\.ocz.* MB are free in .*make room"):
        unpack_model(archive, archive.parent / "again.onnx")
    assert written == []
    assert asked == [archive.parent]
    assert list(archive.parent.iterdir()) == [archive]
    have_free(monkeypatch, opened.size)
    unpack_model(archive, archive.parent / "again.onnx")
    assert len(written) == 2


@BY_READER
def test_a_temporary_folder_that_is_too_small_is_noticed_before_any_work(
    read: Callable[[Path], object], archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    have_free(monkeypatch, Archive(archive).size - 1)
    with pytest.raises(OutputError, match=r"m\.ocz.*make room"):
        read(archive)
    have_free(monkeypatch, Archive(archive).size)
    assert read(archive)


@BY_READER
def test_a_temporary_folder_that_fills_up_meanwhile_is_told(
    read: Callable[[Path], object], archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Archive, "write_file", full)
    with pytest.raises(OutputError, match=r"m\.ocz.*No space left.*TMPDIR"):
        read(archive)


def test_where_nobody_says_how_much_is_free_it_is_tried(
    archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", full)
    assert load_model(archive)
    assert unpack_model(archive, archive.parent / "again.onnx")


def test_a_disk_that_fills_up_meanwhile_leaves_what_was_there(
    archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = archive.parent / "again.onnx"
    old.write_bytes(b"old")
    monkeypatch.setattr(Archive, "write_file", full)
    with pytest.raises(OutputError, match=r"again\.onnx.*No space left"):
        unpack_model(archive, old)
    assert old.read_bytes() == b"old"
    assert set(archive.parent.iterdir()) == {archive, old}


def test_an_archive_that_does_not_give_the_model_back_is_not_written(
    archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = archive.read_bytes()
    model = archive.parent.parent / "m.onnx"
    right = Archive.piece
    monkeypatch.setattr(Archive, "piece", lambda self, p: right(self, p)[::-1])
    with pytest.raises(InvalidModelError, match="checksum"):
        pack_model(model, archive)
    assert archive.read_bytes() == before
    assert list(archive.parent.iterdir()) == [archive]


def test_a_figure_of_an_archive_is_left_out_where_there_is_no_room(
    archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = archive.parent.parent / "m.onnx"
    assert in_archive(model) is not None
    monkeypatch.setattr("ocompress.io.archives.write_archive", full)
    assert in_archive(model) is None
    monkeypatch.setattr("ocompress.stopping.tempfile.mkdtemp", full)
    assert in_archive(model) is None


def test_what_an_archive_holds_is_shown_without_room_for_it(
    archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ocompress.stopping.tempfile.mkdtemp", full)
    found = in_archive(archive)
    assert found is not None
    assert sum(found.files.values()) == Archive(archive).size


def test_files_that_cannot_be_read_are_named(
    archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mmap, "mmap", full)
    with pytest.raises(UsageError, match=r"m\.ocz.* cannot be read: No space"):
        Archive(archive)
    with pytest.raises(UsageError, match=r"m\.onnx.* cannot be read: No space"):
        pack_model(archive.parent.parent / "m.onnx", archive.parent / "n.ocz")


def test_an_empty_file_is_no_archive(tmp_path: Path) -> None:
    (tmp_path / "e.ocz").touch()
    with pytest.raises(InvalidModelError, match=r"e\.ocz.* is empty"):
        Archive(tmp_path / "e.ocz")


def test_a_change_is_read_with_its_own_base_only(archive: Path) -> None:
    here, model = archive.parent, archive.parent.parent / "m.onnx"
    other = onnx.load(model)
    other.doc_string = "another one"
    onnx.save(other, model.parent / "other.onnx")
    pack_model(model.parent / "other.onnx", here / "other.ocz")
    pack_model(model, here / "change.ocz", base=archive)
    with pytest.raises(UsageError, match=r"change\.ocz.*is needed to read it.*--base"):
        unpack_model(here / "change.ocz", here / "again.onnx")
    with pytest.raises(UsageError, match=r"change\.ocz.*is another one than was named"):
        unpack_model(here / "change.ocz", here / "again.onnx", base=here / "other.ocz")
    assert not (here / "again.onnx").exists()
    made = unpack_model(here / "change.ocz", here / "again.onnx", base=archive)
    assert made[0].read_bytes() == model.read_bytes()
