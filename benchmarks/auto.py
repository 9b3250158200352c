"""`--auto` beside single families and hand-made chains, on the nets of models/ and on public ones.

    python benchmarks/auto.py NET... [--for latency|size|archive] [--max-drop 0.01] [--time 10m]

Nets of models/ are calibrated on the 1,024 unlabelled images of `fashion_calib.npz`; what is lost
is counted on the 10,000 labelled test images, which nothing else sees. Public ones
(`models/fetch.py`) have data of their own, see `benchmarks/auto_nets.py`. Latency is timed beside
the float net in turns, all in one run; seconds are those of the processor.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import ocompress
from benchmarks.auto_nets import Net, net_of
from ocompress.io import save_model
from ocompress.report import Optimization

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
        drop: Points lost on data that nothing else sees.
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
    parser.add_argument("--beside", action="append", metavar="PASSES", help="in place of all rows")
    parser.add_argument("--photos", nargs=2, type=Path, metavar=("CALIBRATION", "EVALUATION"))
    given = parser.parse_args()
    photos = None if given.photos is None else (given.photos[0], given.photos[1])
    print("| net | how | time | bytes | archive | points lost | s | |")
    print("|---|---|---|---|---|---|---|---|")
    for name in given.nets:
        chains = () if given.only_auto else given.beside or CHAINS[given.goal]
        net = net_of(name, photos)
        for passes in (None, *chains):
            show(name, made(net, passes, given.goal, given.max_drop, given.time))


def made(net: Net, passes: str | None, goal: str, max_drop: str, limit: str) -> Row:
    """Make a model and measure it; `passes` None stands for a plan."""
    begun = time.process_time()
    asked = {"auto": True, "goal": goal, "time": limit} if passes is None else {"passes": passes}
    done = ocompress.optimize(net.path, data=net.data, max_drop=max_drop, **asked)
    seconds = time.process_time() - begun
    with tempfile.TemporaryDirectory() as folder:
        candidate = Path(folder) / "candidate.onnx"
        save_model(done.model, candidate)
        drop = 100 * net.lost(candidate)
    latency = done.profile.ratio.value if done.profile and done.profile.ratio else float("nan")
    coded = done.coded.archive if done.coded is not None else None
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
