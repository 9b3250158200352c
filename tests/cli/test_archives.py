"""`pack`, `unpack`, `info`, and archives where other commands take models."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Call


@pytest.fixture
def archive(here: Path, call: Call) -> Path:
    assert call("pack", "in.onnx", "in.ocz").code == 0
    return here / "in.ocz"


def test_a_model_is_packed_and_unpacked(here: Path, call: Call) -> None:
    ended = call("pack", "in.onnx", "in.ocz")
    assert (ended.code, ended.out) == (0, "")
    assert "in.ocz" in ended.err
    assert "times smaller" in ended.err
    ended = call("unpack", "in.ocz", "again.onnx", "-q")
    assert (ended.code, ended.out, ended.err) == (0, "", "")
    assert (here / "again.onnx").read_bytes() == (here / "in.onnx").read_bytes()


def test_an_archive_is_not_named_like_a_model(here: Path, call: Call) -> None:
    before = (here / "in.onnx").read_bytes()
    ended = call("pack", "in.onnx", "out.onnx")
    assert ended.code == 2
    assert "archive 'out.onnx' does not end in .ocz; name an .ocz file" in ended.err
    assert not (here / "out.onnx").exists()
    assert (here / "in.onnx").read_bytes() == before


def test_a_damaged_base_is_named(archive: Path, here: Path, call: Call) -> None:
    content = bytearray(archive.read_bytes())
    content[len(content) // 2] ^= 1  # in the code of a tensor, which a change reads
    (here / "old.ocz").write_bytes(content)
    ended = call("pack", "in.onnx", "change.ocz", "--base", "old.ocz")
    assert ended.code == 3
    assert "'old.ocz' cannot be used: the archive is damaged" in ended.err
    assert not (here / "change.ocz").exists()


def test_info_shows_sizes_and_tensors(archive: Path, here: Path, call: Call) -> None:
    ended = call("info", "in.ocz")
    assert ended.code == 0
    for word in (".onnx", ".ocz", "entropy", "split(", "(all else)"):
        assert word in ended.out
    found = json.loads(call("info", "in.ocz", "--json").out)
    assert found["command"] == "info"
    assert found["bytes"]["ocz"] == archive.stat().st_size
    assert found["bytes"]["onnx"] == (here / "in.onnx").stat().st_size
    coded = sum(t["coded"] for t in found["tensors"])
    assert coded + found["rest_bytes"] == found["bytes"]["ocz"]
    for tensor in found["tensors"]:
        assert tensor["bits"] == pytest.approx(8 * tensor["coded"] / tensor["elements"])
        assert 0 <= tensor["entropy"] <= 32


@pytest.mark.usefixtures("archive")
def test_other_commands_take_archives(here: Path, call: Call) -> None:
    assert call("validate", "in.onnx", "in.ocz", "-d", "d.npz").code == 0
    assert call("validate", "in.ocz", "in.ocz", "-d", "d.npz").code == 0
    assert call("inspect", "in.ocz").code == 0
    ended = call("profile", "in.ocz", "--seconds", "0.02", "--json")
    assert json.loads(ended.out)["model"]["bytes"] == (here / "in.ocz").stat().st_size
    assert call("optimize", "in.ocz", "out.onnx", "-p", "canonicalize", "--no-profile").code == 0


def test_optimize_writes_an_archive(here: Path, call: Call) -> None:
    line = "optimize in.onnx out.ocz -p quant --data d.npz --no-profile --json"
    ended = call(*line.split())
    found = json.loads(ended.out)
    assert found["output"] == "out.ocz" or found["settings"]["output"] == "out.ocz"
    assert call("unpack", "out.ocz", "out.onnx").code == 0
    assert call("validate", "out.onnx", "out.ocz", "-d", "d.npz").code == 0
    first = (here / "out.ocz").read_bytes()
    call(*line.split())
    assert (here / "out.ocz").read_bytes() == first


def test_a_change_is_packed_and_unpacked(archive: Path, here: Path, call: Call) -> None:
    content = bytearray((here / "in.onnx").read_bytes())
    content[len(content) // 2] ^= 1
    (here / "new.onnx").write_bytes(content)
    assert call("pack", "new.onnx", "new.ocz", "--base", "in.ocz").code == 0
    assert (here / "new.ocz").stat().st_size < 0.3 * archive.stat().st_size
    assert "base(" in call("info", "new.ocz", "--base", "in.ocz").out
    assert call("unpack", "new.ocz", "again.onnx", "--base", "in.ocz").code == 0
    assert (here / "again.onnx").read_bytes() == content
    for line in ("unpack new.ocz x.onnx", "info new.ocz", "validate in.onnx new.ocz -d d.npz"):
        ended = call(*line.split())
        assert ended.code == 2
        assert "--base" in ended.complaint


def test_a_large_model_without_numba_gets_advice(
    here: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ocompress.front.archives._SLOW", 100)
    for there in (True, False):
        monkeypatch.setattr("ocompress.front.archives.can_compile", lambda there=there: there)
        assert ("numba" in call("pack", "in.onnx", "in.ocz").err) is not there
        assert call("pack", "in.onnx", "in.ocz", "-q").err == ""
    assert (here / "in.ocz").exists()


WRONG = {
    "pack none.onnx x.ocz": (2, "none.onnx"),
    "pack in.onnx in.onnx": (2, "same file"),
    "pack in.ocz x.ocz": (2, "already"),
    "pack in.onnx none/x.ocz": (2, "folder"),
    "pack d.npz x.ocz": (3, "d.npz"),
    "unpack in.onnx x.onnx": (2, "no archive"),
    "unpack none.ocz x.onnx": (2, "does not exist"),
    "unpack in.ocz in.ocz": (2, "same file"),
    "unpack cut.ocz x.onnx": (3, "cut off"),
    "unpack d.npz x.onnx": (3, "d.npz"),
    "unpack in.ocz x.onnx --max-size 1kB": (3, "--max-size 1MB"),
    "unpack in.ocz x.onnx --max-size 0.5x": (2, "2GB"),
    "pack in.onnx x.ocz --base none.ocz": (2, "none.ocz"),
    "pack in.onnx in.ocz --base in.ocz": (2, "same file"),
    "pack in.onnx x.ocz --base in.onnx": (2, "no archive"),
    "pack in.onnx x.ocz --base cut.ocz": (3, "cut.ocz"),
    "info in.onnx": (2, "no archive"),
    "info cut.ocz": (3, "cut.ocz"),
    "info .": (2, "directory"),
    "validate in.onnx cut.ocz -d d.npz": (3, "cut.ocz"),
}


@pytest.mark.parametrize("line", WRONG)
def test_what_is_wrong_is_said_in_a_sentence(
    line: str, archive: Path, here: Path, call: Call
) -> None:
    (here / "cut.ocz").write_bytes(archive.read_bytes()[:-1])
    code, word = WRONG[line]
    ended = call(*line.split())
    assert ended.code == code
    assert word in ended.complaint
    assert not (here / "x.ocz").exists()
    assert not (here / "x.onnx").exists()
