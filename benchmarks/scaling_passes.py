"""Processor seconds of every pass on growing nets, and what it costs in sessions and clones.

Run: python benchmarks/scaling_passes.py [PASS ...] [--layers 100,200,400]

For each pass: seconds for each number of layers, and the exponent b of seconds ~ layers^b between
the two largest; then the sessions of ONNX Runtime that were made, the clones of models, and the
megabytes of models that were serialized, on the largest.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scaling import TARGET, Sketch

from ocompress import runtime
from ocompress.analysis import AnalysisManager
from ocompress.diagnostics import Diagnostics
from ocompress.io import as_dataset
from ocompress.ir import Model, exporter
from ocompress.pipeline import Context, Pass, all_passes, find

LAYERS = (100, 200, 400)
GOALS: dict[str, dict[str, Any]] = {
    "prune": {"sparsity": 0.5, "smallest": 0},
    "prune-channels": {"ratio": 0.25, "multiple": 1},
    "prune-heads": {"ratio": 0.25},
    "prune-layers": {"count": 1},
    "factorize": {"rank": 2},
    "separable": {"rank": 1},
    "quant-weights": {"smallest": 0},
}
"""Options that make a pass do its work on layers as small as these."""


def net(layers: int) -> Model:
    """Return residual blocks of two products with a Relu between them."""
    sketch, value = Sketch(), "x"
    scale = sketch.constant(np.full(8, 0.02, np.float32))  # or numbers outgrow their type
    for _ in range(layers // 2):
        first = sketch.op(
            "Add", sketch.op("MatMul", value, sketch.weight(8, 32)), sketch.weight(32)
        )
        second = sketch.op("MatMul", sketch.op("Relu", first), sketch.weight(32, 8))
        value = sketch.op("Add", value, sketch.op("Mul", second, scale))
    return sketch.model(value)


@dataclass
class Counts:
    """What was made while a pass ran."""

    sessions: int = 0
    clones: int = 0
    bytes: int = 0


def counted(counts: Counts) -> Callable[[], None]:
    """Count from now on; returns what ends it."""
    make, clone, write = runtime.Session.__init__, Model.clone, exporter.to_proto

    def session(self: runtime.Session, *args: Any, **kwargs: Any) -> None:
        counts.sessions += 1
        make(self, *args, **kwargs)

    def copied(self: Model) -> Model:
        counts.clones += 1
        return clone(self)

    def written(*args: Any, **kwargs: Any) -> Any:
        proto = write(*args, **kwargs)
        counts.bytes += proto.ByteSize()
        return proto

    def end() -> None:
        runtime.Session.__init__, Model.clone = make, clone  # type: ignore[method-assign]
        runtime.to_proto = write

    runtime.Session.__init__, Model.clone = session, copied  # type: ignore[method-assign]
    runtime.to_proto = written
    return end


def seconds(item: Pass, model: Model) -> tuple[float, Counts, bool]:
    """Return processor seconds of a pass, what it made, and whether it changed anything."""
    rows = np.random.default_rng(0).standard_normal((64, 8)).astype(np.float32)
    ctx = Context(
        target=TARGET,
        analyses=AnalysisManager(as_dataset({"x": rows}, model)),
        diagnostics=Diagnostics(),
    )
    counts = Counts()
    end = counted(counts)
    ctx.run_one(find("infer-shapes")(), model)  # as canonicalize leaves it
    start = time.process_time()
    try:
        outcome = ctx.run_one(item, model)
    finally:
        end()
    return time.process_time() - start, counts, bool(outcome)


def main() -> None:
    """Print a row for each pass."""
    parser = argparse.ArgumentParser()
    parser.add_argument("passes", nargs="*")
    parser.add_argument("--layers", default=",".join(map(str, LAYERS)))
    given = parser.parse_args()
    sizes = [int(word) for word in given.layers.split(",")]
    known = {cls.name: cls for cls in all_passes() if not cls.internal}
    print(
        f"{'pass':16}"
        + "".join(f"{size:>8}" for size in sizes)
        + "  exponent  sessions  clones      MB"
    )
    for name in given.passes or sorted(known):
        item = known[name](**GOALS.get(name, {}))
        rows = [seconds(item, net(size)) for size in sizes]
        times = [row[0] for row in rows]
        grown = math.log(sizes[-1] / sizes[-2])
        exponent = math.log(max(times[-1], 1e-6) / max(times[-2], 1e-6)) / grown
        counts, did = rows[-1][1:]
        cells = "".join(f"{t:8.2f}" for t in times)
        made = f"{counts.sessions:10}{counts.clones:8}{counts.bytes / 1e6:8.1f}"
        print(
            f"{name:16}{cells}{exponent:10.2f}{made}{'' if did else '  (changed nothing)'}",
            flush=True,
        )


if __name__ == "__main__":
    main()
