"""`ocompress optimize` when all is well, and when a budget fails."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

from ocompress.io import load_model, save_model
from ocompress.ir import fingerprint
from tests.build import Builder
from tests.cli.conftest import Call

QUICK = ("--no-profile", "--data", "d.npz")


def zeros(path: Path) -> float:
    weights = [w for w in load_model(path).weights() if w.ndim == 2]
    return float(np.mean(np.concatenate([w.ravel() for w in weights]) == 0))


def test_result_and_reports(here: Path, call: Call) -> None:
    line = "optimize in.onnx out.onnx --passes prune{sparsity=0.75} --report r.json --depfile out.d"
    ended = call(*line.split(), *QUICK)
    assert ended.code == 0, ended.err
    assert zeros(here / "out.onnx") > 0.3
    report = json.loads((here / "r.json").read_text())
    assert report["schema"] == 2
    assert report["settings"]["passes"] == "canonicalize,prune{sparsity=0.75}"
    assert report["held"] is True
    assert [p["name"] for p in report["passes"]] == ["canonicalize", "prune"]
    assert report["output"]["bytes"] == (here / "out.onnx").stat().st_size
    assert report["input"]["bytes"] == (here / "in.onnx").stat().st_size
    assert report["output"]["cost"]["nonzero"] < report["input"]["cost"]["nonzero"]
    assert report["validation"]["samples"] == 13  # a third of 40 is held out
    assert (here / "out.d").read_text() == "out.onnx: in.onnx d.npz\n"
    assert "canonicalize,prune{sparsity=0.75}" in ended.err
    assert "wrote 'out.onnx'" in ended.err


def test_a_report_for_people(here: Path, call: Call) -> None:
    line = "optimize in.onnx out.onnx --report r.md --passes"
    ended = call(*line.split(), "prune{sparsity=0.75 protect_ends=true}", *QUICK)
    assert ended.code == 0, ended.err
    page = (here / "r.md").read_text()
    assert page.startswith("# ocompress optimize in.onnx\n")
    cuts, coded = page.split("Where the bytes of an archive are")
    assert coded.count("█")
    lost = [row for row in cuts.splitlines() if "█" in row and "░" in row]
    assert len(lost) == 1
    assert lost[0].count("|") == next(r for r in page.splitlines() if "weights kept" in r).count(
        "|"
    )
    assert "first-layer: it is a first layer and protect\\_ends is on" in page or (
        "first-layer: it is a first layer and protect_ends is on" in page
    )
    assert "█" in ended.out


def test_files_as_options_and_json(here: Path, call: Call) -> None:
    ended = call("optimize", "-m", "in.onnx", "-o", "out.onnx", "-p", "prune", "--json", "-q",
                 *QUICK)  # fmt: skip
    assert ended.code == 0
    assert ended.err == ""
    assert json.loads(ended.out)["output"]["file"] == "out.onnx"
    ended = call("optimize", "-m", "in.onnx", "two.onnx", "-p", "prune", *QUICK)
    assert ended.code == 0
    assert (here / "two.onnx").exists()


def test_budget_that_fails_rolls_back_and_still_writes(here: Path, call: Call) -> None:
    ended = call("optimize", "in.onnx", "out.onnx", "--max-drop", "0.01", "--passes",
                 "prune{sparsity=0.99 protect_ends=false smallest=0}", *QUICK)  # fmt: skip
    assert ended.code == 1, ended.err
    assert "prune was rolled back" in ended.complaint
    assert "'out.onnx'" in ended.complaint
    assert zeros(here / "out.onnx") < 0.01


def test_limits_in_bytes_are_judged_at_the_end(here: Path, call: Call) -> None:
    quick = ("-p", "quant-weights{form=fp16}", *QUICK)
    size = (here / "in.onnx").stat().st_size
    ended = call("optimize", "in.onnx", "out.onnx", "--max-size", f"{size - 1000}B", *quick)
    assert ended.code == 0, ended.err
    assert (here / "out.onnx").stat().st_size <= size - 1000
    ended = call("optimize", "in.onnx", "out.onnx", "--max-size", "1kB", "--strict", *quick)
    assert ended.code == 1
    assert "more than the 1 kB allowed" in ended.complaint
    assert "rolled back" not in ended.complaint  # it came nearer


def test_pass_without_effect_is_named_and_strict_makes_it_fail(here: Path, call: Call) -> None:
    b = Builder()
    b.op("Relu", b.input("x", ["n", 16]), to="y")
    b.output("y", ["n", 16])
    save_model(b.model(), here / "in.onnx")
    ended = call("optimize", "in.onnx", "out.onnx", "-p", "prune", *QUICK)
    assert ended.code == 0
    assert "NOTHING CHANGED by prune" in ended.err
    ended = call("optimize", "in.onnx", "out.onnx", "-p", "prune", "--strict", *QUICK)
    assert ended.code == 1
    assert "prune did not" in ended.complaint


def test_metadata_survive(here: Path, call: Call) -> None:
    proto = onnx.load(here / "in.onnx")
    proto.metadata_props.add(key="character", value="a\nb")
    onnx.save(proto, here / "in.onnx")
    assert call("optimize", "in.onnx", "out.onnx", "-p", "prune", *QUICK).code == 0
    assert onnx.load(here / "out.onnx").metadata_props[0].value == "a\nb"


def test_recipe_and_dump(here: Path, call: Call) -> None:
    (here / "r.toml").write_text('[[pass]]\nname = "prune"\nsparsity = 0.6\n')
    line = "optimize in.onnx out.onnx --recipe r.toml --dump graphs --depfile o.d"
    ended = call(*line.split(), *QUICK)
    assert ended.code == 0, ended.err
    assert "prune{sparsity=0.6}" in ended.err
    assert "02-prune.txt" in {p.name for p in (here / "graphs").iterdir()}
    assert (here / "o.d").read_text() == "out.onnx: in.onnx d.npz r.toml\n"


def test_synthetic_data_are_remarked_loudly(call: Call, here: Path) -> None:
    line = "optimize in.onnx out.onnx -p prune --synthetic-data 4 --no-profile"
    ended = call(*line.split())
    assert ended.code == 0
    assert "RANDOM NUMBERS" in ended.err
    assert (here / "out.onnx").exists()


def test_external_data_on_request(here: Path, call: Call) -> None:
    (here / "d").mkdir()
    ended = call("optimize", "in.onnx", "d/out.onnx", "-p", "prune", "--external-data", *QUICK)
    assert ended.code == 0
    assert sorted(p.name for p in (here / "d").iterdir()) == ["out.onnx", "out.onnx.data"]
    call("optimize", "in.onnx", "one.onnx", "-p", "prune", *QUICK)
    assert fingerprint(load_model(here / "d/out.onnx")) == fingerprint(load_model("one.onnx"))


def test_data_file_of_the_input_is_not_replaced(here: Path, call: Call) -> None:
    save_model(load_model(here / "in.onnx"), here / "out.onnx", external=True)
    (here / "out.onnx").rename(here / "big.onnx")
    before = (here / "out.onnx.data").read_bytes()
    ended = call("optimize", "big.onnx", "out.onnx", "-p", "prune", "--external-data", *QUICK)
    assert ended.code == 2
    assert "out.onnx.data" in ended.complaint
    assert (here / "out.onnx.data").read_bytes() == before


def test_labels_that_do_not_fit_are_a_note_unless_asked_for(here: Path, call: Call) -> None:
    x = np.zeros((4, 16), np.float32)
    np.savez(here / "d.npz", x=x, labels=np.full(4, 999))
    ended = call("optimize", "in.onnx", "out.onnx", "-p", "prune", *QUICK)
    assert ended.code == 0
    assert "accuracy was not measured" in ended.err
    line = "optimize in.onnx new.onnx -p prune --metric accuracy"
    ended = call(*line.split(), *QUICK)
    assert ended.code == 2
    assert not (here / "new.onnx").exists()


@pytest.mark.slow
def test_profile_is_in_the_summary(here: Path, call: Call) -> None:
    ended = call("optimize", "in.onnx", "out.onnx", "-p", "prune", "--data", "d.npz")
    assert "latency p50, 1 sample" in ended.out
    assert (here / "out.onnx").exists()
