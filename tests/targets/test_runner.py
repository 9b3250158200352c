"""The runner and both sides of its job, run in a process of this machine."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto as T

from ocompress.errors import DataError, RuntimeFailureError
from ocompress.ir import Model, from_proto
from ocompress.runtime import VERSION, Level, Session
from ocompress.targets import device, runner
from ocompress.targets.device import Planned, run_on
from ocompress.targets.transport import JOB, RESULT, LocalTransport, run_process, silent
from tests.build import Builder, feeds

LOCAL = LocalTransport()


def plan(models: dict[str, Model]) -> list[Planned]:
    return [Planned(name, model) for name, model in models.items()]


def net(seed: int = 0) -> Model:
    b = Builder(seed)
    x = b.input("in/put", ["N", 3, 8, 8])
    y = b.op("Relu", b.op("Conv", x, b.weight(4, 3, 3, 3), kernel_shape=[3, 3]))
    b.op("Flatten", y, to="file")  # a name that numpy.savez would take for its own argument
    b.op("Identity", y, to="a b/c:d")
    b.output("file")
    b.output("a b/c:d")
    return b.model()


def failing() -> Model:
    """A net that loads and then fails on every input but those of one batch size."""
    b = Builder()
    x = b.input("in/put", ["N", 3, 8, 8])
    b.op("Reshape", x, b.const(np.array([7, 3, 8, 8])), to="y")
    b.output("y")
    return b.model()


def test_outputs_are_those_of_the_host() -> None:
    models = {"reference": net(0), "candidate": net(1)}
    data = [feeds(models["reference"], seed, batch) for seed, batch in ((0, 2), (1, 5))]
    steps: list[tuple[int, int]] = []
    with run_on(LOCAL, plan(models), data, progress=lambda *step: steps.append(step)) as run:
        for name, model in models.items():
            session = Session(model)
            made = list(run.models[name].outputs())
            assert len(made) == 2
            for feed, outputs in zip(data, made, strict=True):
                for key, wanted in session.run(feed).items():
                    np.testing.assert_array_equal(outputs[key], wanted)
                assert list(outputs) == ["file", "a b/c:d"]
            assert len(run.models[name].seconds) == 2
        assert run.facts.onnxruntime == VERSION
        assert run.timed
    assert steps == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_options_reach_the_session() -> None:
    config = {"session.disable_prepacking": "1"}
    model = net()
    planned = [Planned("all", model), Planned("off", model, Level.DISABLED)]
    with run_on(LOCAL, planned, [feeds(model)], threads=2, config=config) as run:
        assert run.facts.threads == 2
    made = runner.session_options("disabled", {"threads": 2, "config": config})
    assert made.intra_op_num_threads == 2
    assert made.graph_optimization_level.name == "ORT_DISABLE_ALL"
    assert made.get_session_config_entry("session.disable_prepacking") == "1"


def test_a_model_that_fails_lets_the_others_run() -> None:
    models = {"reference": net(), "candidate": failing()}
    with run_on(LOCAL, plan(models), [feeds(net(), batch=2)]) as run:
        assert len(list(run.models["reference"].outputs())) == 1
        with pytest.raises(RuntimeFailureError, match=r"on local cannot run the candidate: .*resh"):
            list(run.models["candidate"].outputs())


def test_feeds_that_do_not_fit_are_the_data_s_fault() -> None:
    with (
        run_on(LOCAL, [Planned("m", net())], [{"in/put": np.zeros((1, 3, 8), np.float32)}]) as run,
        pytest.raises(DataError, match="rank"),
    ):
        list(run.models["m"].outputs())


def test_text_goes_there_and_comes_back() -> None:
    b = Builder()
    x = b.input("x", ["N"], T.STRING)
    b.op("Identity", x, to="y")
    b.output("y", ["N"], T.STRING)
    feed = {"x": np.array(["plain", "größer", ""], object)}
    with run_on(LOCAL, [Planned("m", b.model())], [feed]) as run:
        (outputs,) = run.models["m"].outputs()
    assert outputs["y"].tolist() == ["plain", "größer", ""]


def test_what_is_no_tensor_is_named() -> None:
    b = Builder()
    x = b.input("x", [4])
    b.op("SequenceConstruct", x, x, to="s")
    b.op("Relu", x, to="y")
    b.output("y", [4])
    proto = b.proto()
    value = proto.graph.output.add(name="s")
    value.type.sequence_type.elem_type.tensor_type.elem_type = T.FLOAT
    with run_on(
        LOCAL, [Planned("m", from_proto(proto))], [{"x": np.ones(4, np.float32)}] * 2
    ) as run:
        assert run.models["m"].skipped == ("s",)
        assert [list(o) for o in run.models["m"].outputs()] == [["y"], ["y"]]


def test_feeds_of_only_one_of_the_models_are_fine() -> None:
    b = Builder()
    x = b.input("x", [2])
    b.op("Relu", x, to="y")
    b.output("y", [2])
    one = b.model()
    b.input("z", [2])
    feed = {"x": np.ones(2, np.float32), "z": np.ones(2, np.float32)}
    with run_on(LOCAL, plan({"one": one, "two": b.model()}), [feed]) as run:
        assert all(len(list(m.outputs())) == 1 for m in run.models.values())


def test_both_sides_know_the_same_format() -> None:
    assert runner.FORMAT == device.FORMAT


def test_a_job_of_another_format_is_refused(tmp_path: Path) -> None:
    (tmp_path / JOB).write_text(json.dumps({"format": 99}), encoding="utf-8")
    command = [sys.executable, str(Path(runner.__file__)), JOB, RESULT]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "99" in done.stderr


def test_a_runner_that_dies_is_one_sentence(tmp_path: Path) -> None:
    def run(code: str) -> None:
        run_process([sys.executable, "-c", code], tmp_path, silent, "pi")

    with pytest.raises(RuntimeFailureError, match="for pi was killed by SIGILL"):
        run("import os; os.kill(os.getpid(), 4)")
    with pytest.raises(RuntimeFailureError, match=r"exit code 1: ValueError: too bad$"):
        run("raise ValueError('too bad')")
    with pytest.raises(RuntimeFailureError, match="exit code 0: it wrote no message"):
        run("")  # no result either
    with pytest.raises(RuntimeFailureError, match="cannot start 'no-such-program' for pi"):
        run_process(["no-such-program"], tmp_path, silent, "pi")


def test_a_result_that_is_no_result_is_refused() -> None:
    class Liar:
        name, timed = "liar", True

        def execute(self, folder: Path, progress: object) -> None:
            (folder / RESULT).write_text('{"facts": {}}', encoding="utf-8")

    with (
        pytest.raises(RuntimeFailureError, match="liar left a result that cannot be read"),
        run_on(Liar(), [], []),
    ):
        pass
