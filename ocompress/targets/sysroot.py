"""A small AArch64 system with Python and ONNX Runtime in the user's cache folder.

It is made of Debian packages, which are unpacked and never installed, so it takes no root, and of
the wheels of numpy and of the same version of ONNX Runtime that runs here.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from ocompress.errors import OutputError, RuntimeFailureError, UsageError
from ocompress.io.atomic import failure
from ocompress.runtime import VERSION

SUITE, PYTHON = "bookworm", "3.11"
"""Debian release and the Python in it, for which there must be wheels."""
_PLATFORMS = ("manylinux_2_28", "manylinux_2_27", "manylinux_2_17", "manylinux2014")
_FORMAT = 1
_SBIN = ("/usr/sbin", "/sbin")

Say = Callable[[str], None]


def cache_folder() -> Path:
    """Return the cache folder: OCOMPRESS_CACHE, or `ocompress` in the user's own."""
    own = os.environ.get("OCOMPRESS_CACHE")
    if own:
        return Path(own)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "ocompress"


def find_tool(package: str, *names: str) -> str:
    """Return the path of a program of a Debian package.

    Raises:
        UsageError: Naming the package to install.
    """
    path = os.pathsep.join((os.environ.get("PATH", ""), *_SBIN))
    for name in names:
        found = shutil.which(name, path=path)
        if found:
            return found
    msg = f"{names[0]!r} is not installed; install the Debian package {package!r}"
    raise UsageError(msg)


@dataclass(frozen=True, slots=True)
class Sysroot:
    """Where the system is; it need not be there yet.

    Attributes:
        path: Its folder, which holds `root`, `site` and `stamp.json`.
    """

    path: Path

    @classmethod
    def of_cache(cls) -> Sysroot:
        """Return the one for the ONNX Runtime at hand."""
        return cls(cache_folder() / "sysroots" / f"aarch64-onnxruntime-{VERSION}")

    @property
    def root(self) -> Path:
        """The system."""
        return self.path / "root"

    @property
    def site(self) -> Path:
        """The Python packages."""
        return self.path / "site"

    @property
    def python(self) -> Path:
        """The interpreter."""
        return self.root / "usr" / "bin" / f"python{PYTHON}"

    @property
    def is_ready(self) -> bool:
        """Whether it is there, complete, and made as this version makes it."""
        return self._stamp == _wanted()

    @property
    def _stamp(self) -> object:
        try:
            return json.loads((self.path / "stamp.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None


def build(
    sysroot: Sysroot,
    check: Callable[[Sysroot], None],
    *,
    say: Say,
    mirror: str = "",
    again: bool = False,
) -> None:
    """Make a sysroot, going on where an earlier attempt stopped.

    It is made in a folder beside its own and moved there when it is complete.

    Args:
        sysroot: What to make.
        check: Tries it out before it counts.
        say: Takes a line about each step.
        mirror: Where Debian packages come from, if not from where debootstrap gets them.
        again: Set it up again even if it exists.

    Raises:
        UsageError: If a program is missing or another process is at it.
        RuntimeFailureError: If a step fails.
        OutputError: If the disk refuses.
    """
    if sysroot.is_ready and not again:
        say(f"ready: {sysroot.path}")
        return
    maker = _Maker(Sysroot(sysroot.path.with_name(f".{sysroot.path.name}.partial")), mirror)
    try:
        sysroot.path.parent.mkdir(parents=True, exist_ok=True)
        with _alone(sysroot.path.parent):
            maker.start(again=again)
            maker.work(say, check)
            _replace(maker.made.path, sysroot.path)
    except OSError as error:
        raise OutputError(failure(sysroot.path, error)) from error
    say(f"ready: {sysroot.path}")


class _Maker:
    """Makes a sysroot step by step; each step that is done leaves a mark."""

    def __init__(self, made: Sysroot, mirror: str) -> None:
        self.made, self._mirror = made, mirror
        self._debootstrap = find_tool("debootstrap", "debootstrap")
        self._dpkg = find_tool("dpkg", "dpkg-deb")
        self._pip = _pip()
        self._debs = made.path / "packages"
        self._wheels = made.path / "wheels"
        self._marks = made.path / "done"

    def start(self, *, again: bool) -> None:
        """Keep what an earlier attempt left if it wanted the same."""
        wanted = self.made.path / "wanted.json"
        text = json.dumps(_wanted())
        if again or not wanted.exists() or wanted.read_text(encoding="utf-8") != text:
            shutil.rmtree(self.made.path, ignore_errors=True)
        self._marks.mkdir(parents=True, exist_ok=True)
        wanted.write_text(text, encoding="utf-8")

    def work(self, say: Say, check: Callable[[Sysroot], None]) -> None:
        """Do what is left to do."""
        steps: tuple[tuple[str, str, Callable[[], None]], ...] = (
            ("packages", "downloading Debian packages, about 90 MB", self._download_packages),
            ("root", "unpacking them", self._unpack_packages),
            ("wheels", f"downloading numpy and onnxruntime {VERSION}", self._download_wheels),
            ("site", "unpacking them", self._unpack_wheels),
            ("check", "testing it", lambda: check(self.made)),
        )
        for number, (name, what, step) in enumerate(steps, 1):
            mark = self._marks / name
            done = mark.exists()
            say(f"{number}/{len(steps)} {what}{': done already' if done else ''}")
            if not done:
                step()
                mark.touch()
        for leftover in (self._debs, self._wheels, self._marks):
            shutil.rmtree(leftover, ignore_errors=True)
        text = json.dumps(_wanted(), indent=1)
        (self.made.path / "stamp.json").write_text(text, encoding="utf-8")

    def _download_packages(self) -> None:
        options = ("--arch=arm64", "--variant=minbase", "--include=python3", "--download-only")
        command = [self._debootstrap, *options, SUITE, str(self._debs)]
        self._run("debootstrap", [*command, self._mirror] if self._mirror else command)

    def _unpack_packages(self) -> None:
        self.made.root.mkdir(exist_ok=True)
        for package in sorted(self._debs.glob("var/cache/apt/archives/*.deb")):
            self._run("dpkg-deb", [self._dpkg, "-x", str(package), str(self.made.root)])
        if not self.made.python.exists():
            msg = f"the Debian packages of {SUITE} hold no Python {PYTHON}; use another mirror"
            raise RuntimeFailureError(msg)

    def _download_wheels(self) -> None:
        platforms = [part for p in _PLATFORMS for part in ("--platform", f"{p}_aarch64")]
        options = ["--only-binary=:all:", "--no-deps", "--python-version", PYTHON]
        options += ["--implementation", "cp", *platforms, "--dest", str(self._wheels)]
        command = [*self._pip, "download", *options, f"onnxruntime=={VERSION}", "numpy"]
        self._run("pip download", command)

    def _unpack_wheels(self) -> None:
        for wheel in sorted(self._wheels.glob("*.whl")):
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(self.made.site)

    def _run(self, what: str, command: list[str]) -> None:
        log = self.made.path / "log.txt"
        with log.open("w+", encoding="utf-8", errors="replace") as stream:
            code = _exit_code(what, command, stream)
            if code == 0:
                return
            stream.seek(0)
            lines = [line.strip() for line in stream if line.strip()]
        last = lines[-1] if lines else "it wrote no message"
        msg = f"{what} failed with exit code {code}: {last} (see {str(log)!r})"
        raise RuntimeFailureError(msg)


def _exit_code(what: str, command: list[str], log: TextIO) -> int:
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, check=False
        )
    except OSError as error:
        msg = f"cannot start {what}: {error.strerror or error}"
        raise RuntimeFailureError(msg) from error
    return done.returncode


def _wanted() -> dict[str, object]:
    return {"format": _FORMAT, "debian": SUITE, "python": PYTHON, "onnxruntime": VERSION}


def _pip() -> list[str]:
    if importlib.util.find_spec("pip") is not None:
        return [sys.executable, "-m", "pip"]
    return [find_tool("python3-pip", "pip", "pip3")]


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep other processes from making a sysroot at the same time."""
    import fcntl

    with (folder / ".lock").open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            msg = f"another process is setting up a target in {str(folder)!r}; wait for it"
            raise UsageError(msg) from error
        yield


def _replace(new: Path, old: Path) -> None:
    aside = old.with_name(f".{old.name}.old")
    shutil.rmtree(aside, ignore_errors=True)
    if old.exists():
        old.rename(aside)
    new.rename(old)
    shutil.rmtree(aside, ignore_errors=True)
