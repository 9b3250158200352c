from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

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


def _run(*paths: Path) -> subprocess.CompletedProcess[str]:
    root = Path(__file__).parents[2]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (*paths, root)))}
    return subprocess.run(
        [sys.executable, "-c", PROGRAM], env=env, capture_output=True, text=True, check=False
    )


def test_installed_plugin_is_found_and_runs() -> None:
    done = _run(SOURCE)
    assert done.stdout.split() == ["canonicalize,swap-activation{alpha=0.3}", "2", "2"], done.stderr


def test_without_the_plugin_the_pass_is_unknown() -> None:
    done = _run()
    assert done.returncode != 0
    assert "there is no pass named 'swap-activation'" in done.stderr
