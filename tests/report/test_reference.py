"""docs/reports.md and the reports that commands write name the same entries."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ocompress.cli.app import run
from ocompress.io import pack_model, save_model
from tests.graphs import ZOO

PAGE = Path(__file__).parents[2] / "docs" / "reports.md"
CODE, LINK = re.compile(r"`([^`]+)`"), re.compile(r"\]\(#([a-z-]+)\)")

LINES = {
    "optimize": "optimize in.onnx q.onnx --passes prune{sparsity=0.5},quant{keep_slower=true} "
    "--data d.npz --allow-slower --allow-larger --report -",
    "optimize again": "optimize in.onnx o.onnx --passes prune-channels,quant-weights --data d.npz "
    "--max-drop 90% --no-profile --allow-larger --report -",
    "validate": "validate in.onnx q.onnx --data d.npz --gate g.toml --metric own_score:f "
    "--report -",
    "validate --target": "validate in.onnx q.onnx --data d.npz --target local --json",
    "profile": "profile in.onnx --against q.onnx --per-node --seconds 0.02 --report -",
    "inspect": "inspect in.onnx --data d.npz --json",
    "inspect --quant": "inspect in.onnx q.onnx --quant --sensitivity --data d.npz --json",
    "info": "info in.ocz --json",
    "passes": "passes --json",
    "passes NAME": "passes quant --json",
    "recipes": "recipes --json",
    "recipes NAME": "recipes int8 --json",
}
TABLE = {"optimize again": "optimize", "passes NAME": "passes", "recipes": "passes"}
TABLE |= {"recipes NAME": "passes"}

Tables = dict[str, dict[str, str]]


def tables() -> Tables:
    """Return for each heading what stands beside each entry of its table."""
    found: Tables = {}
    heading = ""
    for line in PAGE.read_text().splitlines():
        if line.startswith("#"):
            heading = (
                re.sub(r"[^a-z -]", "", line.lower()).strip().replace("passes recipes", "passes")
            )
        cells = [c.strip() for c in line.strip("|").split(" | ")] if line.startswith("|") else []
        if len(cells) == 2 and cells[0].startswith("`"):
            for entry in CODE.findall(cells[0]):
                found.setdefault(heading, {})[entry] = cells[1]
    return found


class Reader:
    """Holds reports against the tables, and keeps which entries were seen."""

    def __init__(self) -> None:
        self.tables = tables()
        self.seen: set[tuple[str, str]] = set()
        self.strange: list[str] = []

    def read(self, value: Any, heading: str, place: str) -> None:
        if isinstance(value, list):
            for item in value:
                self.read(item, heading, place)
        elif isinstance(value, Mapping):
            for entry, held in value.items():
                said = self.tables[heading].get(entry)
                if said is None:
                    self.strange.append(f"{place}.{entry}")
                    continue
                self.seen.add((heading, entry))
                self._inside(held, said, f"{place}.{entry}")

    def _inside(self, held: Any, said: str, place: str) -> None:
        items = held if isinstance(held, list) else [held]
        linked = LINK.search(said)
        for item in (i for i in items if isinstance(i, Mapping)):
            listed = set(CODE.findall(said))
            if linked is not None and not set(item) & (listed - {"validate", "profile"}):
                self.read(item, linked[1], place)
            elif not re.search(r"\bby\b", said) or set(item) & listed:
                for entry, value in item.items():
                    if entry not in listed:
                        self.strange.append(f"{place}.{entry}")
                    elif linked is not None and f"[`{entry}`]" in said:
                        self.read(value, linked[1], f"{place}.{entry}")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    save_model(ZOO["mlp"](), tmp_path / "in.onnx")
    pack_model(tmp_path / "in.onnx", tmp_path / "in.ocz")
    rng = np.random.default_rng(0)
    x = rng.standard_normal((80, 16)).astype(np.float32)
    np.savez("d.npz", x=x, labels=rng.integers(0, 10, 80))
    Path("g.toml").write_text("max_drop = 1\n")
    Path("own_score.py").write_text("def f(outputs, labels, feeds): return 0.5\n")
    return tmp_path


FAST = {
    "optimize": "optimize in.onnx o.onnx -p prune{sparsity=0.5} -d d.npz --no-profile --json -q",
    "validate": "validate in.onnx in.onnx -d d.npz --json",
    "profile": "profile in.onnx --seconds 0.02 --json",
}


@pytest.mark.parametrize("name", FAST)
@pytest.mark.usefixtures("folder")
def test_the_page_names_what_is_in_reports(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    reader = Reader()
    assert run(FAST[name].split()) == 0
    report = json.loads(capsys.readouterr().out)
    frame = {e: report.pop(e) for e in ("schema", "tool", "command", "settings")}
    reader.read(frame, "json", name)
    reader.read(report, name, name)
    assert not reader.strange
    assert len(reader.seen) > 20


@pytest.mark.slow
@pytest.mark.usefixtures("folder")
def test_the_page_names_every_entry_of_reports(capsys: pytest.CaptureFixture[str]) -> None:
    reader = Reader()
    for name, line in LINES.items():
        assert run(line.split()) == 0, line
        report = json.loads(capsys.readouterr().out)
        frame = {e: report.pop(e) for e in ("schema", "tool", "command", "settings")}
        reader.read(frame, "json", name)
        reader.read(report, TABLE.get(name, name), name)
    assert not sorted(set(reader.strange))
    told = {(heading, entry) for heading, table in reader.tables.items() for entry in table}
    assert not told - reader.seen
