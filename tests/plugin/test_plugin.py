from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

Ended = subprocess.CompletedProcess[str]
SOURCE = Path(__file__).parent / "src"
PROGRAM = """
from ocompress.pipeline import Pipeline, PassManager, find
from ocompress.targets import Arch, Target
from tests.graphs import ZOO
pipeline = Pipeline.parse("swap-activation{alpha=0.3}")
result = PassManager(target=Target(name="t", arch=Arch.ANY)).run(pipeline, ZOO["mlp"]())
ops = [node.op_type for _, node in result.model.nodes()]
print(pipeline, ops.count("LeakyRelu"), result.records[-1].counts["swapped"])
"""


LOSSY = """
import json, sys
import numpy as np
from ocompress import optimize
from tests.graphs import ZOO
x = np.random.default_rng(0).standard_normal((400, 16)).astype(np.float32)
done = optimize(ZOO["mlp"](), passes=sys.argv[1], data={"x": x}, max_drop=0.05, metric="error")
record = done.pipeline.records[-1]
print(json.dumps([record.status, dict(record.counts), dict(record.details)]))
"""
SURFACE = {"ocompress.ir", "ocompress.lossy", "ocompress.pipeline"}


def _run(*paths: Path, program: str = PROGRAM, args: Sequence[str] = ()) -> Ended:
    root = Path(__file__).parents[2]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (*paths, root)))}
    return subprocess.run(
        [sys.executable, "-c", program, *args], env=env, capture_output=True, text=True, check=False
    )


def test_installed_plugin_is_found_and_runs() -> None:
    done = _run(SOURCE)
    assert done.stdout.split() == ["canonicalize,swap-activation{alpha=0.3}", "2", "2"], done.stderr


def test_without_the_plugin_the_pass_is_unknown() -> None:
    done = _run()
    assert done.returncode != 0
    assert "there is no pass named 'swap-activation'" in done.stderr


def test_a_lossy_pass_of_a_third_party_goes_as_far_as_the_limit_lets() -> None:
    done = _run(SOURCE, program=LOSSY, args=["few-levels"])
    assert done.returncode == 0, done.stderr
    status, counts, details = json.loads(done.stdout)
    assert status == "applied"
    rows = details["moves"]
    made = [row for row in rows if "method" in row]
    assert counts == {"roundings made": len(made)}
    assert made
    assert all(row["predicted_error"] > 0 for row in made)
    assert all(row["code"] == "not-chosen" for row in rows if "method" not in row)
    assert details["error"]["reached"] > 0


def test_a_lossy_pass_of_a_third_party_does_what_its_options_ask() -> None:
    done = _run(SOURCE, program=LOSSY, args=["few-levels{max_error=1e-9}"])
    assert done.returncode == 0, done.stderr
    status, counts, details = json.loads(done.stdout)
    assert (status, counts) == ("unchanged", {})
    assert {row["code"] for row in details["moves"]} == {"not-chosen"}


def test_the_lossy_example_is_short_and_uses_the_public_surface_alone() -> None:
    text = (SOURCE / "example_lossy.py").read_text(encoding="utf-8")
    assert len(text.splitlines()) < 80
    names: dict[str, list[str]] = {}
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("ocompress"):
            names.setdefault(node.module or "", []).extend(alias.name for alias in node.names)
    assert names.keys() <= SURFACE
    assert sum(map(len, names.values())) <= 12
