"""The wheel: built, put into an environment of its own, and used from a build with CMake."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

from tests.cli.test_cmake import CMAKE, NINJA, ROOT, needs_tools

pytest.importorskip("hatchling", reason="what builds the wheel is not installed")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory"]
    done = subprocess.run([*build, folder], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (found,) = folder.glob("*.whl")
    return found


def test_everything_that_is_no_module_comes_along(wheel: Path) -> None:
    inside = set(zipfile.ZipFile(wheel).namelist())
    assert "ocompress/cmake/ocompress.cmake" in inside
    for package in ("ocompress", "passes"):
        files = (ROOT / package).rglob("*")
        wanted = {p.relative_to(ROOT).as_posix() for p in files if p.is_file()}
        missing = {n for n in wanted - inside if "__pycache__" not in n}
        assert not missing
    assert not [n for n in inside if n.startswith("tests/")]


@pytest.mark.slow
@needs_tools
def test_a_build_uses_what_was_installed(
    wheel: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The example of docs/builds.md as it stands, with `python3` and `ocompress` from the path."""
    venv.create(here / "env")
    python = here / "env" / "bin" / "python"
    pip: list[str | Path] = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        python,
        "install",
        "--no-deps",
        "--no-index",
    ]
    subprocess.run([*pip, wheel], check=True, capture_output=True)
    (packages,) = (here / "env" / "lib").glob("python*/site-packages")
    (packages / "needed.pth").write_text(sysconfig.get_path("purelib"))  # what it depends on
    monkeypatch.delenv("PYTHONPATH", raising=False)
    monkeypatch.setenv("PATH", f"{here / 'env' / 'bin'}{os.pathsep}{os.environ['PATH']}")

    def ran(*words: str | Path) -> str:
        done = subprocess.run(words, cwd=here, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip()

    folder = Path(ran("ocompress", "cmake-dir"))
    assert folder == packages / "ocompress" / "cmake"
    page = (ROOT / "docs" / "builds.md").read_text()
    (example,) = re.findall(r"```cmake\n(.*?)```", page, re.DOTALL)
    head = "cmake_minimum_required(VERSION 3.20)\nproject(nets LANGUAGES NONE)\n"
    (here / "CMakeLists.txt").write_text(head + example)
    (here / "in.onnx").rename(here / "net.onnx")
    (here / "d.npz").rename(here / "calib.npz")
    ran(str(CMAKE), "-S", ".", "-B", "b", "-G", "Ninja", f"-DCMAKE_MAKE_PROGRAM={NINJA}")
    ran(str(NINJA), "-C", "b")
    assert (here / "b" / "net-small.onnx").is_file()
    assert "no work to do" in ran(str(NINJA), "-C", "b")
