"""`ocompress target` and `ocompress validate --target`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Call


@pytest.mark.usefixtures("here")
def test_validate_on_a_device(call: Call) -> None:
    line = "validate in.onnx in.onnx --data d.npz --device local --report r.json --junit j.xml"
    ended = call(*line.split())
    assert ended.code == 0, ended.err
    for word in ("on local", "passed", "the same model there and here", "candidate", "0 (0.00 %)"):
        assert word in ended.out
    report = json.loads(Path("r.json").read_text())
    assert report["settings"]["target"] == "local"
    assert report["validation"]["samples"] == 40
    assert report["machines"][0]["flips"][0]["count"] == 0
    assert "runs[all]" in Path("j.xml").read_text()


@pytest.mark.usefixtures("here")
def test_a_device_needs_data(call: Call) -> None:
    ended = call("validate", "in.onnx", "in.onnx", "--target", "local")
    assert ended.code == 2
    assert "--data" in ended.complaint


@pytest.mark.usefixtures("here")
def test_what_is_no_device_is_refused(call: Call) -> None:
    ended = call("validate", "in.onnx", "in.onnx", "--data", "d.npz", "--target", "arm64")
    assert ended.code == 2
    assert "models cannot be run on 'arm64'" in ended.complaint


def test_target_without_a_command_names_them(call: Call) -> None:
    ended = call("target")
    assert ended.code == 2
    assert "name a command: setup" in ended.complaint


def test_what_cannot_be_set_up_is_refused(call: Call) -> None:
    ended = call("target", "setup", "pi")
    assert ended.code == 2
    assert "'pi' needs no setup" in ended.complaint


def test_set_up_names_a_missing_package(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ocompress.targets.sysroot._SBIN", ())
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("OCOMPRESS_CACHE", str(tmp_path))
    ended = call("target", "setup", "qemu-aarch64")
    assert ended.code == 2
    assert "install the Debian package 'qemu-user-static'" in ended.complaint
