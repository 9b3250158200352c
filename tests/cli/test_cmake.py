"""The CMake function, with real cmake and ninja."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ocompress.cli.app import run

ROOT = Path(__file__).parents[2]


def _tool(name: str) -> str | None:
    beside = str(Path(sys.executable).parent)  # a virtual environment that is not activated
    return shutil.which(name, path=f"{beside}{os.pathsep}{os.environ.get('PATH', '')}")


CMAKE, NINJA = _tool("cmake"), _tool("ninja")
needs_tools = pytest.mark.skipif(not (CMAKE and NINJA), reason="there is no cmake or no ninja")

PROJECT = """
cmake_minimum_required(VERSION 3.20)
project(nets LANGUAGES NONE)
list(APPEND CMAKE_MODULE_PATH "{folder}")
set(OCOMPRESS_COMMAND "{python};-m;ocompress")
include(ocompress)
ocompress_optimize(TARGET good INPUT in.onnx OUTPUT "a b.onnx" PASSES "quant-weights{{form=fp16}}"
  DATA d.npz EXTERNAL_DATA ALL ARGS --no-profile --max-drop 50% --allow-larger)
ocompress_optimize(TARGET bad INPUT in.onnx OUTPUT bad.onnx RECIPE clean
  ARGS --no-profile --max-size 1kB)
"""


def ran(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(list(map(str, words)), capture_output=True, text=True, check=False)


@pytest.fixture
def project(here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configured build in the folder `b`."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    text = PROJECT.format(
        folder=(ROOT / "cmake").as_posix(), python=Path(sys.executable).as_posix()
    )
    (here / "CMakeLists.txt").write_text(text)
    done = ran(str(CMAKE), "-S", here, "-B", here / "b", "-G", "Ninja",
               f"-DCMAKE_MAKE_PROGRAM={NINJA}")  # fmt: skip
    assert done.returncode == 0, done.stderr
    return here / "b"


def ninja(build: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return ran(str(NINJA), "-C", build, *words)


@needs_tools
def test_what_is_made_and_made_again(project: Path) -> None:
    done = ninja(project)
    assert done.returncode == 0, done.stdout
    assert sorted(p.name for p in project.glob("a b*")) == [
        "a b.onnx",
        "a b.onnx.d",
        "a b.onnx.data",
    ]
    assert "no work to do" in ninja(project).stdout
    for needed in (project.parent / "d.npz", project.parent / "in.onnx"):
        os.utime(needed, (2e9, 2e9))
        assert "Compressing in.onnx" in ninja(project, "-n").stdout
        os.utime(needed, (1e9, 1e9))
    assert "no work to do" in ninja(project, "-n").stdout
    (project / "a b.onnx.data").unlink()
    assert "Compressing in.onnx" in ninja(project, "-n").stdout


@needs_tools
def test_a_failed_budget_fails_the_build(project: Path) -> None:
    done = ninja(project, "bad")
    assert done.returncode != 0
    assert "more than the 1 kB allowed" in done.stdout
    assert not (project / "bad.onnx").exists()


@pytest.mark.parametrize(
    ("call", "says"),
    [
        ("TARGET x INPUT a OUTPUT b", "give either PASSES or RECIPE"),
        ("TARGET x INPUT a OUTPUT b PASSES p RECIPE r", "give either PASSES or RECIPE"),
        ("TARGET x INPUT a PASSES p", "OUTPUT is missing"),
        ("TARGET x INPUT a OUTPUT b PASSES p DATTA d", "unknown argument DATTA"),
    ],
)
@needs_tools
def test_mistakes_are_named(call: str, says: str, tmp_path: Path) -> None:
    script = f'include("{(ROOT / "cmake" / "ocompress.cmake").as_posix()}")\n'
    (tmp_path / "x.cmake").write_text(f"{script}ocompress_optimize({call})\n")
    done = ran(str(CMAKE), "-P", tmp_path / "x.cmake")
    assert done.returncode != 0
    assert says in " ".join(done.stderr.split())


def test_the_folder_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["cmake-dir"]) == 0
    assert (Path(capsys.readouterr().out.strip()) / "ocompress.cmake").is_file()
