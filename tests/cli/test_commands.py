"""The other commands, and how the program ends."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from ocompress import __version__
from ocompress.cli import exits
from ocompress.errors import DataError, OptionError, OutputError, UnsupportedModelError
from ocompress.io import load_model, save_model
from tests.cli.conftest import Call


@pytest.fixture
def pruned(here: Path, call: Call) -> Path:
    line = "optimize in.onnx out.onnx --no-profile -q --data d.npz --passes"
    call(*line.split(), "prune{sparsity=0.9 protect_ends=false smallest=0}")
    return here / "out.onnx"


def test_validate_passes_equal_models(here: Path, call: Call) -> None:
    line = "validate in.onnx in.onnx --data d.npz --report r.json"
    ended = call(*line.split())
    assert ended.code == 0
    assert "passed" in ended.out
    assert "exact" in ended.out
    report = json.loads((here / "r.json").read_text())
    assert report["command"] == "validate"
    assert report["passed"] is True


@pytest.mark.parametrize("more", ["", "--gate size.toml", "--gate drop.toml"])
def test_validate_without_data_says_that_nothing_was_compared(
    more: str, here: Path, call: Call
) -> None:
    (here / "size.toml").write_text("max_bytes = '1 GB'\n")
    (here / "drop.toml").write_text("max_drop = 0.01\n")
    ended = call(*f"validate in.onnx in.onnx --report r.json --junit r.xml {more}".split())
    assert "passed" not in ended.out
    assert json.loads((here / "r.json").read_text())["passed"] is False
    failed = [
        c.get("name")
        for c in ET.parse(here / "r.xml").iter("testcase")
        if len(c.findall("failure"))
    ]
    assert failed[0] == "compared"
    if "drop" in more:  # a limit that nothing was measured for
        assert ended.code == 1
        assert "max_drop is limited but was not measured" in ended.complaint
        return
    assert "NOT COMPARED" in ended.out
    assert "--data" in ended.complaint
    assert ended.code == (0 if more else 1)  # whoever limits the size alone gets just that


def test_a_gate_without_limits_is_refused(here: Path, call: Call) -> None:
    (here / "gate.toml").write_text("")
    ended = call("validate", "in.onnx", "in.onnx", "--gate", "gate.toml")
    assert ended.code == 2
    assert "'gate.toml' sets no limit" in ended.complaint


def test_a_gate_may_limit_bytes_and_memory(here: Path, call: Call) -> None:
    (here / "gate.toml").write_text("max_bytes = '1 GB'\nmax_memory = 1\n")
    line = "validate in.onnx in.onnx --data d.npz --gate gate.toml --json"
    ended = call(*line.split())
    assert ended.code == 1
    found = {c["name"]: c for c in json.loads(ended.out)["gate"]}
    assert {n: c["passed"] for n, c in found.items()} == {
        "max_bytes": True,
        "max_memory": False,
    }
    assert found["max_bytes"]["value"] == (here / "in.onnx").stat().st_size
    assert found["max_memory"]["value"] > 1000


@pytest.mark.usefixtures("pruned")
def test_validate_fails_on_the_gate(here: Path, call: Call) -> None:
    (here / "gate.toml").write_text("min_sqnr_db = 60\nmax_size_ratio = 1.5\n")
    line = "validate in.onnx out.onnx --data d.npz --gate gate.toml --junit gate.xml --json"
    ended = call(*line.split())
    assert ended.code == 1
    assert "'out.onnx' does not pass" in ended.complaint
    assert json.loads(ended.out)["passed"] is False
    cases = ET.parse(here / "gate.xml").findall("testsuite/testcase")
    failed = {c.get("name"): c.find("failure") is not None for c in cases}
    assert failed["min_sqnr_db[y]"] is True
    assert failed["max_size_ratio"] is False


def test_profile_beside_a_reference(pruned: Path, call: Call) -> None:
    ended = call("profile", pruned, "--against", "in.onnx", "--seconds", "0.05", "--per-node")
    assert ended.code == 0, ended.err
    for word in ("latency p50", "peak memory", "Gemm", "ONNX Runtime"):
        assert word in ended.out
    ended = call("profile", "in.onnx", "--shape", "x:3,16", "--seconds", "0.05", "--json")
    report = json.loads(ended.out)
    assert report["inputs"][0]["shape"] == [3, 16]
    assert report["model"]["cost"]["parameters"] == sum(
        w.size for w in load_model("in.onnx").weights()
    )


@pytest.mark.usefixtures("here")
def test_inspect_says_what_passes_would_do(call: Call) -> None:
    ended = call("inspect", "in.onnx")
    assert ended.code == 0
    for word in ("x float[n,16]", "Gemm 3", "opset 17", "zeros made", "needs data"):
        assert word in ended.out
    report = json.loads(call("inspect", "in.onnx", "--data", "d.npz", "--json").out)
    named = {p["name"]: p for p in report["passes"]}
    assert named["prune"]["declined"]
    assert not named["quant"]["problem"]


def test_passes_lists_and_explains(call: Call) -> None:
    listed = call("passes").out
    assert "prune" in listed
    assert "fold-batch-norm" not in listed
    assert "fold-batch-norm" in call("passes", "--all").out
    shown = call("passes", "prune").out
    assert "sparsity" in shown
    assert "0..1" in shown
    report = json.loads(call("passes", "prune", "--json").out)
    assert report["pass"]["options"][0]["name"] == "sparsity"


def test_version_and_no_command(call: Call) -> None:
    assert call("--version").out == f"ocompress {__version__}\n"
    ended = call()
    assert ended.code == 2
    assert "optimize, plan, distill, sweep, validate" in ended.complaint


# -- how it ends ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (DataError("a\nb"), 2),
        (UnsupportedModelError("x"), 3),
        (OutputError("x"), 4),
        (KeyboardInterrupt(), 130),
        (MemoryError(), 4),
        (ZeroDivisionError("division by zero"), 4),
    ],
)
def test_exceptions_become_exit_codes(
    error: BaseException, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    @exits.mapped
    def command() -> int:
        raise error

    assert command() == code
    err = capsys.readouterr().err
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    if isinstance(error, ZeroDivisionError):
        assert "OCOMPRESS_DEBUG=1" in err
        assert "ZeroDivisionError" in err


def test_an_interrupt_within_the_loading_of_a_module_is_an_interrupt() -> None:
    wrapped = ImportError("initialization failed")
    wrapped.__cause__ = KeyboardInterrupt()
    assert exits.describe(wrapped) == (130, "interrupted; nothing was written")


def test_a_full_disk_is_no_bug_wherever_it_shows() -> None:
    refusal = OSError(errno.ENOSPC, "No space left on device", "/tmp/x")
    assert exits.describe(refusal) == (
        4,
        "the operating system reported: No space left on device: '/tmp/x'",
    )


@pytest.mark.parametrize("quoted", ["9" * 5000, "9 " * 2500])
def test_a_sentence_that_quotes_a_whole_file_keeps_its_ends(quoted: str) -> None:
    code, sentence = exits.describe(OptionError(f"quant: block='{quoted}' is too large; take 32"))
    assert code == 2
    assert len(sentence) < 1000
    assert sentence.startswith("quant: block='9")
    assert sentence.endswith("9' is too large; take 32" if quoted[1] == "9" else "large; take 32")
    assert "[...]" in sentence
    path = "/a" * 200
    assert exits.describe(OptionError(f"no file {path}"))[1] == f"no file {path}"


def test_debug_lets_exceptions_through(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OCOMPRESS_DEBUG", "1")

    @exits.mapped
    def command() -> int:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        command()


def test_reader_that_went_away_is_no_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(exits, "_close_stdout", lambda: None)

    @exits.mapped
    def command() -> int:
        raise BrokenPipeError

    assert command() == 0
    assert capsys.readouterr().err == ""


def test_models_near_the_limit_get_external_data(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ocompress.io.model_writer.LARGEST_FILE", 1000)
    save_model(load_model(here / "in.onnx"), here / "big.onnx")
    assert (here / "big.onnx.data").exists()


@pytest.fixture
def interrupted_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("ocompress.pipeline.manager.PassManager.run", interrupt)


@pytest.mark.usefixtures("interrupted_pass")
def test_interruption_midway(here: Path, call: Call) -> None:
    before = sorted(here.iterdir())
    ended = call("optimize", "in.onnx", "out.onnx", "-p", "prune", "--data", "d.npz")
    assert ended.code == 130
    assert ended.complaint == "error: interrupted; nothing was written"
    assert sorted(here.iterdir()) == before


@pytest.mark.usefixtures("here")
def test_a_report_can_be_written_anew(call: Call) -> None:
    for _ in range(2):
        assert call("profile", "in.onnx", "--seconds", "0.02", "--report", "r.json").code == 0
