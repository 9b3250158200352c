"""Whose fault a failure is: the inputs', the model's, or the runtime's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto as T

from ocompress import front
from ocompress.cli.app import run
from ocompress.errors import DataError, RuntimeFailureError, RuntimeFaultError
from ocompress.failures import Failure
from ocompress.front.reference import try_out
from ocompress.io import as_dataset, save_model
from ocompress.ir import DType, Model
from ocompress.runtime import Level, Session
from tests.build import Builder


def misfused() -> Model:
    """Return a normalization `x [3, 1]` with a wider scale, which ONNX Runtime fuses wrongly."""
    b = Builder()
    less = b.op("Sub", b.input("x", [3, 1]), b.op("ReduceMean", "x", axes=[-1]))
    square = b.op("Pow", less, b.const(np.float32(2)))
    spread = b.op("Add", b.op("ReduceMean", square, axes=[-1]), b.const(np.float32(1e-5)))
    normal = b.op("Div", less, b.op("Sqrt", spread))
    b.output(b.op("Mul", b.const(np.array([1, 2], np.float32)), normal, to="y"), [3, 2])
    made = b.model()
    try:
        Session(made).run({"x": np.ones((3, 1), np.float32)})
    except RuntimeFailureError:
        return made
    pytest.skip("this version of ONNX Runtime fuses it right")


FEEDS = {"x": np.ones((3, 1), np.float32)}


def test_a_fault_of_the_optimizer_is_named_as_such() -> None:
    model = misfused()
    assert Session(model, level=Level.DISABLED).run(FEEDS)["y"].shape == (3, 2)
    with pytest.raises(RuntimeFaultError) as caught:
        Session(model).run(FEEDS)
    said = str(caught.value)
    assert "LayerNorm" in said
    assert "at optimization level all" in said
    assert "at level disabled the model runs" in said
    assert caught.value.exit_code == 4


def test_a_convolution_of_doubles_is_told_what_to_do() -> None:
    b = Builder()
    x = b.input("x", ["n", 4, 8, 8], T.DOUBLE)
    b.op("Conv", x, b.weight(4, 4, 3, 3, dtype=np.float64), to="y")
    b.output("y", ["n", 4, 6, 6], T.DOUBLE)
    with pytest.raises(RuntimeFailureError, match=r"computes in float64.* export it in float32"):
        Session(b.model())


def test_types_of_other_nodes_than_the_one_without_a_kernel_are_not_blamed() -> None:
    b = Builder()
    x = b.input("x", ["n", 4, 8, 8], T.INT16)
    b.op("MaxPool", x, to="y", kernel_shape=[2, 2])
    b.output("y", ["n", 4, 7, 7], T.INT16)
    b.op("Neg", b.input("other", [3], T.DOUBLE), to="z")
    b.output("z", [3], T.DOUBLE)
    with pytest.raises(RuntimeFailureError) as caught:
        Session(b.model())
    assert "float32" not in str(caught.value)


@pytest.mark.parametrize("passes", ["quant", "prune{sparsity=0.5}", "clean", ""])
def test_a_model_that_computes_in_bfloat16_is_told_what_to_do(
    passes: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    b = Builder()
    b.ops("Cast", [b.input("x", ["n", 16])], ["narrow"], to=T.BFLOAT16)
    weight = b.const(np.ones((16, 16), DType.BFLOAT16.numpy))
    b.ops("Cast", [b.op("Relu", b.op("MatMul", "narrow", weight))], ["y"], to=T.FLOAT)
    b.output("y", ["n", 16])
    save_model(b.model(), tmp_path / "in.onnx")
    words = ["profile", tmp_path / "in.onnx"]
    if passes:
        how = ["--recipe"] if passes == "clean" else ["--synthetic-data", "8", "--passes"]
        words = ["optimize", tmp_path / "in.onnx", tmp_path / "out.onnx", *how, passes]
    assert run(list(map(str, words))) == 3
    said = capsys.readouterr().err
    assert "computes in bfloat16" in said
    assert "export it in float32" in " ".join(said.split())
    assert not (tmp_path / "out.onnx").exists()


def test_an_index_that_is_too_large_is_a_fault_of_the_data() -> None:
    b = Builder()
    b.op("Gather", b.weight(5, 2), b.input("ids", ["n"], T.INT64), to="y")
    b.output("y", ["n", 2])
    with pytest.raises(DataError, match=r"fails in node 'y' \(Gather\): .*out of data bounds"):
        Session(b.model()).run({"ids": np.array([9])})


def test_inputs_of_another_shape_are_a_fault_of_the_data() -> None:
    for feeds in ({"x": np.ones((3, 2), np.float32)}, {"x": np.ones((3, 1))}, {}):
        with pytest.raises(DataError, match="do not match the model's inputs"):
            Session(misfused()).run(feeds)


def test_what_fails_at_every_level_is_a_fault_of_the_model() -> None:
    b = Builder()
    b.op("Reshape", b.input("x", ["n"]), b.const(np.array([5])), to="y")
    b.output("y", [5])
    with pytest.raises(
        RuntimeFailureError, match=r"in node 'y' \(Reshape\): The input tensor"
    ) as e:
        Session(b.model()).run({"x": np.ones(3, np.float32)})
    assert not isinstance(e.value, RuntimeFaultError)


def test_loading_is_told_apart_too(monkeypatch: pytest.MonkeyPatch) -> None:
    model = misfused()
    real = Session._source

    def broken(self: Session, *args: object, **how: object) -> object:
        if self._level is Level.ALL:
            raise ValueError("fusion went wrong")
        return real(self, *args, **how)  # type: ignore[arg-type]

    monkeypatch.setattr(Session, "_source", broken)
    with pytest.raises(RuntimeFaultError, match="level all: fusion went wrong; at level disabled"):
        Session(model)


def test_places_in_the_source_of_the_runtime_are_left_out() -> None:
    said = (
        "[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : Non-zero status code returned while running "
        "Reshape node. Name:'r' Status Message: /onnxruntime_src/reshape_helper.h:91 "
        "onnxruntime::ReshapeHelper(const onnxruntime::TensorShape&) size == wanted was false. "
        "It cannot be reshaped.\nInput shape:{3}"
    )
    found = Failure.of(RuntimeError(said))
    assert found == Failure(
        "in node 'r' (Reshape)", "It cannot be reshaped. Input shape:{3}", False
    )


def test_the_first_run_of_the_original_says_whose_fault_it_is() -> None:
    model = misfused()
    feeds, why = try_out(model, None, threads=1)
    assert feeds is None
    assert "fault of its optimizer" in why
    with pytest.raises(RuntimeFaultError):
        try_out(model, as_dataset(FEEDS, model), threads=1)
    with pytest.raises(RuntimeFaultError):
        front.validate(model, model, FEEDS)


@pytest.mark.parametrize("command", ["profile", "profile --data", "validate --data", "optimize"])
def test_commands_blame_the_runtime(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, data = str(tmp_path / "m.onnx"), str(tmp_path / "d.npz")
    save_model(misfused(), path)
    np.savez(data, **FEEDS)  # type: ignore[arg-type]
    name, *more = command.split()
    args = [name, path] if name == "profile" else [name, path, path]
    if name == "optimize":
        args = [name, path, str(tmp_path / "o.onnx"), "--passes", "prune"]
        more = ["--data"]
    assert run([*args, *more, *([data] if more else [])]) == 4
    said = " ".join(capsys.readouterr().err.split())
    assert "at optimization level all" in said
    assert "data do not fit" not in said


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="resident memory is read there")
def test_a_held_output_holds_no_more_memory() -> None:
    b = Builder()
    wide = b.op("Add", b.input("x", [1024, 1]), b.input("y", [1, 8192]))  # 32 MiB
    b.output(b.op("ReduceSum", b.op("Exp", wide), b.const(np.array([0, 1], np.int64)), to="z"))
    model = b.model()
    feeds = {"x": np.zeros((1024, 1), np.float32), "y": np.zeros((1, 8192), np.float32)}
    held = [Session(model).run(feeds)]
    before = _resident()
    held += [Session(model).run(feeds) for _ in range(8)]
    assert _resident() - before < 256 << 20
    assert len({float(one["z"].item()) for one in held}) == 1


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * 4096
