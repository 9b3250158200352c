"""A runtime that crashes takes down a copy of the process, not the process."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import pytest

from ocompress.errors import UnsupportedModelError
from ocompress.front import trial
from ocompress.front.files import as_model
from ocompress.io import save_model
from ocompress.stopping import time_limit
from tests.build import Builder
from tests.graphs import ZOO

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks on Linux only")


def test_a_crash_is_noticed() -> None:
    assert trial.killed_by(os.abort) is signal.SIGABRT
    assert trial.killed_by(lambda: os.kill(os.getpid(), signal.SIGSEGV)) is signal.SIGSEGV


@pytest.mark.parametrize("work", [lambda: 1 / 0, lambda: sys.exit(3), lambda: None])
def test_what_is_no_crash_happens_again_here(work: object) -> None:
    assert callable(work)
    assert trial.killed_by(work) is None


def test_what_takes_longer_than_a_run_may_is_not_waited_for() -> None:
    with time_limit(0.05):
        assert trial.killed_by(lambda: time.sleep(600)) is None


def test_a_model_that_crashes_the_runtime_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_model(ZOO["mlp"](), tmp_path / "m.onnx")
    as_model(tmp_path / "m.onnx")
    monkeypatch.setattr(trial, "_load_and_run", lambda _: os.abort())
    with pytest.raises(UnsupportedModelError, match=r"crashes on this model \(SIGABRT\)"):
        as_model(tmp_path / "m.onnx")


@pytest.mark.parametrize(("opset", "refused"), [(9, True), (13, False)])
def test_an_old_expand_to_endless_axes_is_refused_before_it_is_loaded(
    opset: int, refused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    b = Builder()
    ones = onnx.numpy_helper.from_array(np.ones(1, np.int64))
    axes = b.op("ConstantOfShape", b.const(np.array([1 << 40])), value=ones)
    b.op("Expand", b.input("x", [2, 3]), axes, to="y")
    b.output("y")
    loaded: list[object] = []
    monkeypatch.setattr(trial, "killed_by", loaded.append)
    if refused:
        with pytest.raises(
            UnsupportedModelError, match=r"'y' \(Expand\) wants .* 1099511627776 axes"
        ):
            trial.check_survival(b.model(opset=opset))
    else:
        trial.check_survival(b.model(opset=opset))
    assert bool(loaded) != refused
