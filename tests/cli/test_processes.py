"""The program as a process: start-up, signals, limits, bytes that depend on nothing else."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.conftest import Call
from tests.cli.endless import endless

PROGRAM = [sys.executable, "-m", "ocompress"]
LINE = ["optimize", "in.onnx", "out.onnx", "-p", "prune,quant", "--data", "d.npz", "--no-profile"]


def start(*arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # type: ignore[call-overload,no-any-return]
        [*PROGRAM, *arguments], capture_output=True, text=True, timeout=120, check=False, **options
    )


@pytest.mark.parametrize("line", [["--help"], ["optimize", "--help"], ["--version"]])
def test_help_needs_no_runtime(line: list[str]) -> None:
    code = (
        "import sys\nfrom ocompress.cli.app import run\n"
        f"code = run({line!r})\n"
        "bad = [m for m in ('onnxruntime', 'onnx', 'numpy') if m in sys.modules]\n"
        "sys.exit(f'imported {bad}' if bad else code)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    assert "ocompress" in ended.stdout


def test_bytes_depend_on_model_and_seed_only(here: Path) -> None:
    made = []
    for number, seed in enumerate(("1", "77")):
        folder = here / f"sub{number}"
        folder.mkdir()
        line = [w if w not in ("in.onnx", "d.npz") else str(here / w) for w in LINE]
        env = {**os.environ, "PYTHONHASHSEED": seed}
        ended = start(*line, cwd=folder, env=env)
        assert ended.returncode == 0, ended.stderr
        made.append((folder / "out.onnx").read_bytes())
    assert made[0] == made[1]
    assert str(here).encode() not in made[0]


def no_large_files() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))


def test_full_disk(here: Path) -> None:
    (here / "out.onnx").write_bytes(b"old")
    before = {p.name: p.read_bytes() for p in here.iterdir()}
    ended = start(*LINE, cwd=here, preexec_fn=no_large_files)
    assert ended.returncode == 4
    last = ended.stderr.splitlines()[-1]
    assert last == "error: cannot write 'out.onnx': File too large"
    assert {p.name: p.read_bytes() for p in here.iterdir()} == before


SLOW = """
import pathlib, time
import numpy as np

def feed():
    return {"x": np.zeros((1, 16), np.float32)}

def in_python():
    pathlib.Path("started").touch()
    for _ in range(6000):
        time.sleep(0.1)
        yield feed()

def in_numpy():
    pathlib.Path("started").touch()
    np.linalg.svd(np.random.default_rng(0).random((4000, 4000)))
    yield feed()

def in_the_runtime():
    pathlib.Path("started").touch()
    yield feed()
"""


@pytest.mark.parametrize(
    ("kind", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["SIGINT", "SIGTERM"]
)
@pytest.mark.parametrize("where", ["in_python", "in_numpy", "in_the_runtime"])
def test_signals_end_it_wherever_it_is(
    where: str, kind: signal.Signals, code: int, here: Path
) -> None:
    if where == "in_the_runtime":
        (here / "in.onnx").write_bytes(endless().SerializeToString())
    (here / "slow.py").write_text(SLOW)
    (here / "out.onnx").write_bytes(b"what was there before")
    (here / "tmp").mkdir()
    line = [w if w != "d.npz" else f"slow:{where}" for w in LINE]
    process = subprocess.Popen(
        [*PROGRAM, *line], cwd=here, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "TMPDIR": str(here / "tmp")},
    )  # fmt: skip
    err = interrupted(process, kind, here / "started")
    assert process.returncode == code
    assert err.splitlines()[-1] == "error: interrupted; nothing was written"
    assert "Traceback" not in err
    left = {p.name for p in here.iterdir() if p.name != "__pycache__"}
    assert left == {"in.onnx", "out.onnx", "d.npz", "slow.py", "started", "tmp"}
    assert not list((here / "tmp").glob("ocompress*"))
    assert (here / "out.onnx").read_bytes() == b"what was there before"


def test_an_interruption_within_code_given_as_text_ends_it_like_any_other(here: Path) -> None:
    text = "def feeds():\n    exec('raise KeyboardInterrupt')\n    yield {}\n"
    (here / "slow.py").write_text(text)
    line = [w if w != "d.npz" else "slow:feeds" for w in LINE]
    ended = start(*line, cwd=here)
    assert ended.returncode == 130  # and not killed by the signal
    assert ended.stderr.splitlines()[-1] == "error: interrupted; nothing was written"
    assert not (here / "out.onnx").exists()


def interrupted(process: subprocess.Popen[str], kind: signal.Signals, mark: Path) -> str:
    """Signal a program once it has made a file; return what it says on standard error."""
    deadline = time.monotonic() + 60
    while not mark.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    if mark.exists() and process.poll() is None:
        process.send_signal(kind)
    _, err = process.communicate(timeout=20)
    assert mark.exists(), f"ended with {process.returncode} before: {err}"
    return err


@pytest.mark.parametrize(
    ("kind", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["SIGINT", "SIGTERM"]
)
def test_signals_end_it_while_it_is_loaded(kind: signal.Signals, code: int, here: Path) -> None:
    (here / "typer.py").write_text(
        "import pathlib, time\npathlib.Path('started').touch()\ntime.sleep(600)\n"
    )
    process = subprocess.Popen([*PROGRAM, *LINE], cwd=here, stderr=subprocess.PIPE, text=True)
    err = interrupted(process, kind, here / "started")
    assert process.returncode == code
    assert err == "error: interrupted; nothing was written\n"


ENDING = """
import atexit, ctypes, pathlib, time
import numpy as np

class Last:
    def __del__(self, path=pathlib.Path, sleep=time.sleep):
        path("ending").touch()
        sleep(5)

kept = Last()

def in_python():
    atexit.register(kept.__del__)
    yield {"x": np.zeros((1, 16), np.float32)}

def in_a_library():
    atexit.register(lambda: (pathlib.Path("ending").touch(), ctypes.PyDLL(None).sleep(3)))
    yield {"x": np.zeros((1, 16), np.float32)}

def at_the_very_end():
    yield {"x": np.zeros((1, 16), np.float32)}
"""


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("where", ["in_python", "in_a_library", "at_the_very_end"])
def test_signals_change_nothing_once_it_is_done(
    where: str, kind: signal.Signals, here: Path
) -> None:
    (here / "ending.py").write_text(ENDING)
    line = [w if w != "d.npz" else f"ending:{where}" for w in LINE]
    process = subprocess.Popen([*PROGRAM, *line], cwd=here, stderr=subprocess.PIPE, text=True)
    err = interrupted(process, kind, here / "ending")
    assert process.returncode == 0, err
    assert "interrupted" not in err
    assert (here / "out.onnx").exists()


def test_reader_that_stops_early_is_silent(here: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as stream:
        ended = subprocess.run(
            [*PROGRAM, "passes"], cwd=here, stdout=stream, stderr=subprocess.PIPE, check=False
        )
    assert ended.stderr == b""
    assert ended.returncode == 0


def test_threads_do_not_change_the_bytes(here: Path, call: Call) -> None:
    for name, threads in (("a.onnx", "1"), ("b.onnx", "2")):
        line = [w if w != "out.onnx" else name for w in LINE]
        assert call(*line, "--threads", threads).code == 0
    assert (here / "a.onnx").read_bytes() == (here / "b.onnx").read_bytes()
