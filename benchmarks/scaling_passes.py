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
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scaling import TARGET
from scaling_nets import attention, convolutions, dense, ended, separables, signs

from ocompress import runtime
from ocompress.analysis import AnalysisManager
from ocompress.diagnostics import Diagnostics
from ocompress.io import as_dataset
from ocompress.ir import Model, edit, exporter
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
    "codebook": {"smallest": 0},
    "binarize": {"smallest": 0},
    "hash": {"smallest": 0},
    "circulant": {"smallest": 0},
    "random-code": {"smallest": 0},
    "nested": {"epochs": 1},
    "tune": {"epochs": 8},
}
"""Options that make a pass do its work on layers as small as these."""
NETS: dict[str, Callable[[int], Model]] = {
    **dict.fromkeys(("group", "squeeze"), convolutions),
    "separable": separables,
    "prune-heads": attention,
    "pack-weights": signs,
    "split": ended,
}
"""Nets of layers that a pass takes, where `dense` has none."""
WORN = ("tune",)
"""Passes that get a net whose weights have lost something, and the net as it was to learn from."""


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
    extents = [extent for extent in model.graph.inputs[0].shape or () if isinstance(extent, int)]
    rows = np.random.default_rng(0).standard_normal((64, *extents)).astype(np.float32)
    ctx = Context(
        target=TARGET,
        analyses=AnalysisManager(as_dataset({"x": rows}, model)),
        diagnostics=Diagnostics(),
        original=model.clone(),
    )
    if item.name in WORN:
        wear(model)
    counts = Counts()
    end = counted(counts)
    ctx.run_one(find("infer-shapes")(), model)  # as canonicalize leaves it
    start = time.process_time()
    try:
        outcome = ctx.run_one(item, model)
    finally:
        end()
    return time.process_time() - start, counts, bool(outcome)


def wear(model: Model) -> None:
    """Change weights by a twentieth of their size."""
    rng = np.random.default_rng(1)
    for value in model.graph.initializers.values():
        if value.data is not None and value.data.dtype == np.float32:
            noise = 1 + 0.05 * rng.standard_normal(value.data.shape)
            edit.set_weight(value, (value.data * noise).astype(np.float32))


def exponent_of(times: Sequence[float], sizes: Sequence[int]) -> float:
    """Return b of seconds ~ layers^b between the two largest."""
    ratio = max(times[-1], 1e-6) / max(times[-2], 1e-6)
    return math.log(ratio) / math.log(sizes[-1] / sizes[-2])


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
        net = NETS.get(name, dense)
        rows = [seconds(item, net(size)) for size in sizes]
        times = [row[0] for row in rows]
        exponent = exponent_of(times, sizes)
        counts, did = rows[-1][1:]
        cells = "".join(f"{t:8.2f}" for t in times)
        made = f"{counts.sessions:10}{counts.clones:8}{counts.bytes / 1e6:8.1f}"
        print(
            f"{name:16}{cells}{exponent:10.2f}{made}{'' if did else '  (changed nothing)'}",
            flush=True,
        )


if __name__ == "__main__":
    main()
