"""`--auto` beside single families and hand-made chains, on the nets of models/.

    python benchmarks/auto.py NET... [--for latency|size|archive] [--max-drop 0.01] [--time 10m]

Calibrated on the 1,024 unlabelled images of `fashion_calib.npz`; what is lost is counted on the
10,000 labelled test images, which nothing else sees. Latency is timed beside the float net in
turns, all in one run; seconds are those of the processor.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from pathlib import Path

import ocompress
from ocompress.report import Optimization

MODELS = Path(__file__).parents[1] / "models"
CALIBRATION, TEST = (MODELS / "data" / f"fashion_{part}.npz" for part in ("calib", "test"))
CHAINS = {
    "latency": (
        "quant",
        "quant-dynamic",
        "prune-channels",
        "factorize",
        "prune-heads",
        "prune-channels,quant",
        "factorize,quant",
        "prune-channels,factorize,quant",
        "prune-channels,quant-dynamic",
    ),
    "size": (
        "quant",
        "quant-weights",
        "cluster,pack-weights",
        "codebook,pack-weights",
        "prune-channels,codebook,pack-weights",
        "entropy,pack-weights",
    ),
    "archive": ("entropy", "codebook", "cluster", "prune,cluster", "prune-channels,entropy"),
}
"""What people would write by hand, under the same limit on the drop."""


@dataclass(frozen=True)
class Row:
    """A result.

    Attributes:
        how: Its passes.
        latency: Its time over the float net's.
        bytes: Bytes of the .onnx file.
        archive: Bytes of the .ocz archive, None where it was not made.
        drop: Accuracy lost on the test images, points.
        seconds: Of the processor, that making it took.
        held: Whether it kept its limits.
    """

    how: str
    latency: float
    bytes: int
    archive: int | None
    drop: float
    seconds: float
    held: bool


def main() -> None:
    """Print a table for each net."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("nets", nargs="+")
    parser.add_argument("--for", dest="goal", choices=tuple(CHAINS), default="latency")
    parser.add_argument("--max-drop", default="0.01")
    parser.add_argument("--time", default="10m")
    parser.add_argument("--only-auto", action="store_true")
    given = parser.parse_args()
    print("| net | how | time | bytes | archive | points lost | s | |")
    print("|---|---|---|---|---|---|---|---|")
    for net in given.nets:
        chains = () if given.only_auto else CHAINS[given.goal]
        for passes in (None, *chains):
            show(net, made(net, passes, given.goal, given.max_drop, given.time))


def made(net: str, passes: str | None, goal: str, max_drop: str, limit: str) -> Row:
    """Make a model and measure it; `passes` None stands for a plan."""
    source, begun = MODELS / f"{net}.onnx", time.process_time()
    asked = {"auto": True, "goal": goal, "time": limit} if passes is None else {"passes": passes}
    done = ocompress.optimize(source, data=CALIBRATION, max_drop=max_drop, **asked)
    seconds = time.process_time() - begun
    found = ocompress.validate(source, done.model, data=TEST).levels[0].accuracy
    assert found is not None
    latency = done.profile.ratio.value if done.profile and done.profile.ratio else float("nan")
    coded = done.coded.archive if done.coded is not None else None
    drop = 100 * found.drop.value
    return Row(_named(done, passes), latency, done.bytes[1], coded, drop, seconds, done.held)


def _named(done: Optimization, passes: str | None) -> str:
    if passes is not None:
        return passes
    assert done.plan is not None
    return f"--auto: {done.plan.chosen.chain}"


def show(net: str, row: Row) -> None:
    """Print a row."""
    coded = "" if row.archive is None else f"{row.archive:,}"
    figures = f"{row.latency:.3f} | {row.bytes:,} | {coded} | {row.drop:.2f} | {row.seconds:.0f}"
    print(f"| {net} | `{row.how}` | {figures} | {'' if row.held else 'broken'} |", flush=True)


if __name__ == "__main__":
    main()
