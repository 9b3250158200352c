"""A few dozen cases of every kind; `python -m tests.fuzz` runs thousands."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto

from tests.fuzz import files, worker
from tests.fuzz.cases import KINDS
from tests.fuzz.mutate import damaged_bytes, damaged_message, damaged_text
from tests.fuzz.outputs import difference
from tests.fuzz.program import Outcome, call
from tests.graphs import protos

SEED = 1
BATCH = 6


@pytest.mark.parametrize("start", range(1, 1 + 4 * BATCH, BATCH))
@pytest.mark.parametrize("kind", ["archive", "bytes", "protobuf", "files"])
def test_no_case_is_at_fault(
    kind: str, start: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for number in range(start, start + BATCH):
        folder = tmp_path / str(number)
        folder.mkdir()
        outcome = worker.one(kind, SEED, number, folder, quick=True)
        assert outcome.fault == "", f"{kind}, seed {SEED}, case {number}, quick"


def test_damage_is_repeatable_and_there() -> None:
    proto = protos()["mlp"]
    content = proto.SerializeToString()
    for seed in range(5):
        made = []
        for _ in range(2):
            rng = np.random.default_rng(seed)
            copy = ModelProto.FromString(content)
            damaged_message(copy, rng)
            made.append((
                damaged_bytes(content, rng), damaged_text("a = 1\nb = 2\n", rng),
                copy.SerializeToString(deterministic=True),
            ))  # fmt: skip
        assert made[0] == made[1]
        assert made[0][0] != content or made[0][2] != content


@pytest.mark.parametrize("kind", ["gate", "passes", "recipe", "table"])
def test_settings_are_served_before_they_are_damaged(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "damaged_text", lambda text, _: text.encode())
    monkeypatch.setattr(files, "damaged_bytes", lambda content, _: content)
    monkeypatch.setattr(files, "_WRITERS", {kind: files._WRITERS[kind]})
    assert files.case(np.random.default_rng(2), tmp_path) == Outcome("", served=True)


def test_other_outputs_are_noticed(tmp_path: Path) -> None:
    proto = protos()["mlp"]
    one, two = tmp_path / "a.onnx", tmp_path / "b.onnx"
    onnx.save(proto, one)
    weight = onnx.numpy_helper.to_array(proto.graph.initializer[0]).copy()
    weight[0] += 0.5
    proto.graph.initializer[0].raw_data = weight.tobytes()
    onnx.save(proto, two)
    assert "outputs differ" in difference(one, two, np.random.default_rng(0))
    assert difference(one, one, np.random.default_rng(0)) == ""
    two.write_bytes(b"broken")
    assert "does not run" in difference(one, two, np.random.default_rng(0))


def test_a_file_that_takes_the_runtime_down_is_not_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.onnx"
    onnx.save(protos()["mlp"], path)
    here = os.getpid()

    def dies(*_: object) -> list[object]:
        if os.getpid() != here:
            os.abort()
        pytest.fail("it would have died here")

    monkeypatch.setattr("onnxruntime.InferenceSession.run", dies)
    assert difference(path, path, np.random.default_rng(0)) == ""


def test_what_a_call_must_not_end_in_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def ends(code: int, *lines: str) -> str:
        def run(_: list[str]) -> int:
            sys.stderr.write("".join(f"{line}\n" for line in lines))
            return code

        monkeypatch.setattr("tests.fuzz.program.run", run)
        return call("optimize").fault

    assert ends(0) == ""
    assert ends(3, "error: 'a.onnx' is not a model") == ""
    assert "undocumented exit code" in ends(7, "error: x")
    assert "not one sentence" in ends(4)
    assert "not one sentence" in ends(4, "error: x", "error: y")
    assert "uncaught" in ends(4, "error: unexpected KeyError: 'a'; this is a bug, please")
    assert "uncaught" in ends(4, "error: pass 'quant' failed (KeyError: 'a'); passes before: none")
    assert "memory" in ends(
        4,
        "error: there is not enough memory for this model and data; use fewer "
        "samples or more memory",
    )

    def raises(_: list[str]) -> int:
        raise KeyError

    monkeypatch.setattr("tests.fuzz.program.run", raises)
    assert "KeyError" in call("optimize").fault


def test_a_dead_or_hanging_process_costs_one_case(monkeypatch: pytest.MonkeyPatch) -> None:
    def case(_: object, number: int, *__: object, **___: object) -> Outcome:
        if number == 1:
            os.abort()
        if number == 2:
            time.sleep(600)
        if number == 3:
            raise ValueError
        return Outcome("", served=True)

    monkeypatch.setitem(KINDS, "files", case)
    monkeypatch.setattr(worker, "models", list)
    found = {n: o.fault for n, o in worker.run("files", 0, range(5), seconds=1)}
    assert found[0] == found[4] == ""
    assert "SIGABRT" in found[1]
    assert "hangs" in found[2]
    assert "the fuzzer fails" in found[3]
