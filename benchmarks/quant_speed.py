"""How long quantizing takes: this compiler against ONNX Runtime's `quantize_static`.

    python benchmarks/quant_speed.py MODEL --data CALIBRATION [--samples 128]

Each runs in a process of its own on the same samples, in turn, `--rounds` times; printed are the
medians of wall-clock seconds (imports included) and the peak resident memory of each.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TOOLS = ("ocompress", "ort")


def work(tool: str, model: Path, data: str, samples: int, passes: str) -> None:
    """Quantize once, in this process."""
    from quant_rivals import theirs

    from ocompress.io import load_data, load_model, save_model
    from ocompress.pipeline import PassManager, Pipeline
    from ocompress.targets import find

    loaded = load_model(model)
    dataset = load_data(data, loaded, samples=samples)
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "result.onnx"
        if tool == "ort":
            theirs(model, result, dataset, reduce_range=False)
        else:
            manager = PassManager(target=find("portable"), data=dataset)
            save_model(manager.run(Pipeline.parse(passes), loaded).model, result)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"peak_mib {peak / 1024:.0f}")


def main() -> int:
    """Measure both tools."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--data", required=True)
    parser.add_argument("--samples", type=int, default=128)
    parser.add_argument("--passes", default="canonicalize,prune,quant")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tool", choices=TOOLS, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.tool:
        work(given.tool, given.model, given.data, given.samples, given.passes)
        return 0
    seconds: dict[str, list[float]] = {t: [] for t in TOOLS}
    peaks: dict[str, float] = {}
    for _ in range(given.rounds):
        for tool in TOOLS:
            start = time.perf_counter()
            done = subprocess.run(
                [sys.executable, __file__, *sys.argv[1:], "--tool", tool],
                check=True,
                capture_output=True,
                text=True,
            )
            seconds[tool].append(time.perf_counter() - start)
            peaks[tool] = float(done.stdout.split()[-1])
    for tool in TOOLS:
        print(f"{tool:10} {statistics.median(seconds[tool]):7.1f} s  {peaks[tool]:6.0f} MiB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
