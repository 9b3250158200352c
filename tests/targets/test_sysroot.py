"""How the sysroot is made and found, and the table of cores."""

from __future__ import annotations

import json
import stat
import sys
from pathlib import Path

import pytest

from ocompress.errors import OptionError, OutputError, RuntimeFailureError, UsageError
from ocompress.runtime import VERSION
from ocompress.targets import sysroot
from ocompress.targets.cores import CORES, find_core
from ocompress.targets.emulated import EmulatedTransport, set_up
from ocompress.targets.sysroot import PYTHON, Sysroot, build, cache_folder
from ocompress.targets.transports import find_transport

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="emulation needs Linux")

DEBOOTSTRAP = f"""#!{sys.executable}
import pathlib, sys
pathlib.Path("{{log}}").open("a").write(" ".join(sys.argv[1:]) + "\\n")
suite, folder = [a for a in sys.argv[1:] if not a.startswith("--")][:2]
archives = pathlib.Path(folder, "var/cache/apt/archives")
archives.mkdir(parents=True, exist_ok=True)
(archives / "python.deb").touch()
"""
DPKG = f"""#!{sys.executable}
import pathlib, sys
usr = pathlib.Path(sys.argv[3], "usr/bin")
usr.mkdir(parents=True, exist_ok=True)
(usr / "python{PYTHON}").touch()
"""
EMULATOR = "#!/bin/sh\necho Illegal instruction; exit 3\n"


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine whose only programs are stand-ins, and an empty cache folder."""
    folder = tmp_path / "bin"
    folder.mkdir()
    texts = {
        "debootstrap": DEBOOTSTRAP.replace("{log}", str(tmp_path / "log")),
        "dpkg-deb": DPKG,
        "qemu-aarch64-static": EMULATOR,
    }
    for name, text in texts.items():
        (folder / name).write_text(text)
        (folder / name).chmod(stat.S_IRWXU)
    monkeypatch.setattr(sysroot, "_SBIN", ())
    monkeypatch.setattr(sysroot, "_pip", lambda: [str(folder / "pip")])
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setenv("OCOMPRESS_CACHE", str(tmp_path / "cache"))
    return folder


def give_pip(folder: Path) -> None:
    """Add a pip that makes one wheel."""
    text = (
        f"#!{sys.executable}\nimport pathlib, sys, zipfile\n"
        "folder = pathlib.Path(sys.argv[sys.argv.index('--dest') + 1])\n"
        "folder.mkdir()\n"
        "with zipfile.ZipFile(folder / 'n.whl', 'w') as z:\n"
        "    z.writestr('numpy/version', ' '.join(sys.argv[1:]))\n"
    )
    (folder / "pip").write_text(text)
    (folder / "pip").chmod(stat.S_IRWXU)


def quiet(line: str) -> None:
    """Say nothing."""


def nothing(made: Sysroot) -> None:
    assert made.python.exists()


def test_a_sysroot_is_made_once_and_resumed(tools: Path, tmp_path: Path) -> None:
    lines: list[str] = []
    target = Sysroot.of_cache()
    with pytest.raises(RuntimeFailureError, match="cannot start pip download"):
        build(target, nothing, say=lines.append, mirror="somewhere")
    assert not target.path.exists()
    assert lines[-1].startswith("3/5")
    give_pip(tools)
    build(target, nothing, say=lines.append, mirror="somewhere")
    assert [line.endswith("done already") for line in lines[3:6]] == [True, True, False]
    called = (tmp_path / "log").read_text().splitlines()
    assert len(called) == 1
    assert "--arch=arm64" in called[0]
    assert called[0].endswith(" somewhere")
    asked = (target.site / "numpy" / "version").read_text()
    assert f"onnxruntime=={VERSION} numpy" in asked
    assert "manylinux_2_28_aarch64" in asked
    assert sorted(p.name for p in target.path.iterdir()) == [
        "log.txt", "root", "site", "stamp.json", "wanted.json",
    ]  # fmt: skip
    build(target, nothing, say=lines.append)
    assert lines[-1].startswith("ready: ")
    assert len((tmp_path / "log").read_text().splitlines()) == 1


def test_a_sysroot_is_made_again_when_asked_or_outdated(tools: Path, tmp_path: Path) -> None:
    give_pip(tools)
    target = Sysroot.of_cache()
    build(target, nothing, say=quiet)
    (target.path / "mark").touch()
    build(target, nothing, say=quiet, again=True)
    assert not (target.path / "mark").exists()
    (target.path / "stamp.json").write_text(json.dumps({"format": 0}))
    build(target, nothing, say=quiet)
    assert json.loads((target.path / "stamp.json").read_text())["onnxruntime"] == VERSION
    assert len((tmp_path / "log").read_text().splitlines()) == 3
    assert [p.name for p in target.path.parent.iterdir() if p.name != ".lock"] == [target.path.name]


def test_a_sysroot_that_does_not_work_does_not_count(tools: Path) -> None:
    give_pip(tools)
    with pytest.raises(RuntimeFailureError, match="does not start on qemu-aarch64:max: Illegal"):
        set_up(say=quiet)
    assert not Sysroot.of_cache().is_ready


@pytest.mark.parametrize(
    ("tool", "package"),
    [
        ("debootstrap", "debootstrap"),
        ("dpkg-deb", "dpkg"),
        ("qemu-aarch64-static", "qemu-user-static"),
    ],
)
def test_a_missing_tool_names_its_package(tools: Path, tool: str, package: str) -> None:
    (tools / tool).unlink()
    with pytest.raises(UsageError, match=f"'{tool}' is not installed.*{package}'"):
        set_up(say=quiet)


def test_only_one_makes_it_at_a_time(tools: Path) -> None:
    give_pip(tools)

    def again(_: Sysroot) -> None:
        build(Sysroot.of_cache(), nothing, say=quiet)

    with pytest.raises(UsageError, match="another process"):
        build(Sysroot.of_cache(), again, say=quiet)


@pytest.mark.usefixtures("tools")
def test_a_cache_that_cannot_be_written_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("OCOMPRESS_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(OutputError, match="cannot write"):
        build(Sysroot.of_cache(), nothing, say=quiet)


def test_the_cache_folder_is_the_user_s(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OCOMPRESS_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cache_folder() == Path.home() / ".cache" / "ocompress"
    monkeypatch.setenv("XDG_CACHE_HOME", "/there")
    assert cache_folder() == Path("/there/ocompress")
    monkeypatch.setenv("OCOMPRESS_CACHE", "/own")
    assert cache_folder() == Path("/own")


@pytest.mark.usefixtures("tools")
def test_a_target_that_is_not_set_up_says_how() -> None:
    with pytest.raises(UsageError, match="run 'ocompress target setup qemu-aarch64'"):
        find_transport("qemu-aarch64:cortex-a72")


def test_unknown_cores_and_devices_are_named() -> None:
    with pytest.raises(OptionError, match="did you mean 'cortex-a72'"):
        find_core("cortex-a722")
    with pytest.raises(OptionError, match="devices are local, qemu-aarch64"):
        find_transport("pi")
    with pytest.raises(OptionError, match="takes nothing"):
        find_transport("local:x")


def test_cores_say_whether_they_have_dot_products() -> None:
    with_dot = {name for name, core in CORES.items() if "asimddp" in core.features.split()}
    assert with_dot == {"max", "cortex-a76", "neoverse-n1"}
    text = CORES["cortex-a76"].cpuinfo(2)
    assert text.count("processor") == 2
    assert "CPU part\t: 0xd0b\n" in text
    assert text.endswith("\n\n")


def test_the_system_is_shown_with_the_core(tools: Path) -> None:
    give_pip(tools)
    target = Sysroot.of_cache()
    build(target, nothing, say=quiet)
    (target.root / "proc").mkdir()
    transport = find_transport("qemu-aarch64:cortex-a53")
    assert isinstance(transport, EmulatedTransport)
    with transport._prefix() as prefix:
        assert "0xd03" in (prefix / "proc" / "cpuinfo").read_text()
        assert (prefix / "usr" / "bin" / f"python{PYTHON}").exists()
        command = transport.command(prefix)
    assert command[1:5] == ["-L", str(prefix), "-cpu", "cortex-a53"]
    assert not prefix.exists()
    assert list((target.root / "proc").iterdir()) == []
