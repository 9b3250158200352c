"""What a student is made of, and that it is trained."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

import ocompress
from ocompress.errors import ModelError, OptionError, UsageError
from ocompress.front import Request
from ocompress.front.students import students
from ocompress.io import save_model
from ocompress.ir import Model
from ocompress.pipeline import Status
from ocompress.runtime import Session
from tests.build import Builder

needs_torch = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None,
    reason="PyTorch is not installed: pip install ocompress[tune]",
)


def net(
    hidden: int = 32, seed: int = 4, *, wide: int = 5, names: str = "xy", op: str = ""
) -> Model:
    b = Builder(seed)
    x = b.input(names[0], ["n", 12])
    h = b.op("Relu", b.op("Gemm", x, b.weight(12, hidden), b.weight(hidden)))
    h = b.op(op, h, domain="ai.onnx.ml") if op else h
    h = b.op("Relu", b.op("Gemm", h, b.weight(hidden, hidden), b.weight(hidden)))
    b.op("Gemm", h, b.weight(hidden, wide), b.weight(wide), to=names[1])
    b.output(names[1], ["n", wide])
    return b.model()


X = np.random.default_rng(0).standard_normal((200, 12)).astype(np.float32)
LONG = f"prune{{sparsity=0.5 exclude=[{','.join(f'layer{at}' for at in range(40))}]}}"
"""More than a name of a file may have."""


@pytest.mark.parametrize(
    ("text", "passes"),
    [
        ("separable", "separable{rank=1}"),
        ("separable=0.2", "separable{max_macs=0.2}"),
        ("fire", "squeeze{max_macs=0.5 relu=true}"),
        ("shuffle=0.25", "group{max_macs=0.25}"),
        ("split", "split{groups=2}"),
        ("split=0.6", "split{max_macs=0.6}"),
        ("width=0.75", "prune-channels{ratio=0.25 scope=layer}"),
        ("macs=0.4", "prune-channels{max_macs=0.4}"),
        ("prune-layers{count=2},prune{sparsity=0.5}", "prune-layers{count=2},prune{sparsity=0.5}"),
        (LONG, LONG),
    ],
)
def test_forms_are_passes(text: str, passes: str) -> None:
    found = students(text)
    assert ",".join(str(p) for p in found) == passes
    assert all(p.has_goal for p in found)  # so that training comes before judging
    assert str(Request(student=text, passes="tune").pipeline) == f"canonicalize,{passes},tune"


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("width", "width=0.5"),
        ("width=", "width=0.5"),
        ("width=1", "below 1"),
        ("separable=0", "above 0"),
        ("separable=", "above 0"),
        ("fire=much", "above 0"),
        ("mobile", "separable"),
        ("separabel", "separable"),
        (",", "expected"),
        (" ", "empty"),
    ],
)
def test_other_words_are_refused(text: str, word: str) -> None:
    with pytest.raises(OptionError, match=word):
        students(text)


def test_a_file_that_is_not_there_is_named() -> None:
    with pytest.raises(UsageError, match=r"small\.onnx"):
        students("small.onnx")


def test_a_file_that_is_no_model_is_named(tmp_path: Path) -> None:
    (tmp_path / "s.onnx").write_bytes(b"nothing")
    with pytest.raises(ModelError, match=r"s\.onnx"):
        students(str(tmp_path / "s.onnx"))


@pytest.mark.parametrize(
    ("student", "why"),
    [
        (net(wide=6), r"output 'y' of student .* is float\[n, 6\].*float\[n, 5\]"),
        (net(names="xz"), "has the outputs z, but the teacher has y"),
        (net(names="wy"), "has the inputs w, but the teacher has x"),
    ],
)
def test_a_student_of_another_interface_is_refused(
    student: Model, why: str, tmp_path: Path
) -> None:
    save_model(student, tmp_path / "s.onnx")
    with pytest.raises(UsageError, match=why):
        ocompress.optimize(net(), student=tmp_path / "s.onnx", passes="prune{sparsity=0.1}")


def test_operators_of_other_domains_are_a_students_own(tmp_path: Path) -> None:
    student = net(8, op="Normalizer")
    student.opsets["ai.onnx.ml"] = 3
    save_model(student, tmp_path / "s.onnx")
    done = ocompress.optimize(
        net(), student=tmp_path / "s.onnx", passes="prune{sparsity=0.1}", max_latency=None
    )
    assert "ai.onnx.ml" in done.model.domains()


def test_a_student_is_not_replaced(tmp_path: Path) -> None:
    save_model(net(8), tmp_path / "s.onnx")
    before = (tmp_path / "s.onnx").read_bytes()
    with pytest.raises(UsageError, match=r"s\.onnx"):
        ocompress.optimize(
            net(), tmp_path / "s.onnx", student=tmp_path / "s.onnx", passes="prune{sparsity=0.1}"
        )
    assert (tmp_path / "s.onnx").read_bytes() == before


def apart(done: Model, teacher: Model) -> float:
    a, b = (Session(m).run({"x": X})["y"] for m in (teacher, done))
    return float(np.square(a - b).mean() / np.square(a).mean())


@needs_torch
@pytest.mark.parametrize("given", ["width=0.5", "file"])
def test_a_student_comes_near_to_its_teacher(given: str, tmp_path: Path) -> None:
    if given == "file":
        save_model(net(12, seed=9), tmp_path / "s.onnx")
    done = ocompress.optimize(
        net(),
        student=tmp_path / "s.onnx" if given == "file" else given,
        passes="tune{epochs=30 lr=0.03}",
        data=np.random.default_rng(0).standard_normal((800, 12)).astype(np.float32),
        measure=False,
    )
    built, trained = done.pipeline.records[1:]
    assert [built.status, trained.status] == [Status.APPLIED] * 2
    held = trained.details["held_out"]
    assert held["after"] < (0.95 if given == "width=0.5" else 0.5) * held["before"]
    assert done.held
    assert done.model.weight_bytes < 0.6 * net().weight_bytes


@needs_torch
def test_a_student_that_does_not_come_near_enough_is_not_kept(tmp_path: Path) -> None:
    save_model(net(2, seed=9), tmp_path / "s.onnx")
    done = ocompress.optimize(
        net(), student=tmp_path / "s.onnx", passes="tune{epochs=1}", data=X, max_drop=0.001,
        measure=False,
    )  # fmt: skip
    assert [r.status for r in done.pipeline.records[1:]] == [Status.ROLLED_BACK] * 2
    assert not done.held
    assert apart(done.model, net()) < 1e-9
