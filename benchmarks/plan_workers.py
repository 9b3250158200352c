"""How much faster plans are found by several workers, where no model is timed.

    python benchmarks/plan_workers.py NET... [--workers 2] [--max-drop 0.01] [--turns 3]

The nets of models/, calibrated on the 1,024 unlabelled images of `fashion_calib.npz`. Plans are
looked for in turns by one process and by several, each time as if nothing were known; seconds are
those of the search alone, from the opened model to the plan, and the least of all turns counts.
Processor seconds are those of all processes: what is done twice, and the start of workers, is in
them. Plans have to be the same.
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
from dataclasses import dataclass
from pathlib import Path

import ocompress

MODELS = Path(__file__).parents[1] / "models"
CALIBRATION = MODELS / "data" / "fashion_calib.npz"


@dataclass(frozen=True)
class Row:
    """A search.

    Attributes:
        seconds: How long it took.
        processor: Seconds of all processors, the final step included.
        trials: How many models were asked for.
        passes: What was found.
    """

    seconds: float
    processor: float
    trials: int
    passes: str


def main() -> None:
    """Print a row for each net."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("nets", nargs="+")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--max-drop", default="0.01")
    parser.add_argument("--turns", type=int, default=3)
    given = parser.parse_args()
    print(f"| net | trials | s, 1 | s, {given.workers} | times faster | processor s | same |")
    print("|---|---|---|---|---|---|---|")
    for net in given.nets:
        rows = [
            (searched(net, 1, given.max_drop), searched(net, given.workers, given.max_drop))
            for _ in range(given.turns)
        ]
        alone, beside = (min((r[at] for r in rows), key=lambda r: r.seconds) for at in (0, 1))
        same = len({row.passes for pair in rows for row in pair}) == 1
        print(
            f"| {net} | {alone.trials} | {alone.seconds:.1f} | {beside.seconds:.1f} "
            f"| {alone.seconds / beside.seconds:.2f} | {alone.processor:.0f}, "
            f"{beside.processor:.0f} | {'yes' if same else 'NO'} |",
            flush=True,
        )


def searched(net: str, workers: int, max_drop: str) -> Row:
    """Look for a plan with an empty cache."""
    before = _processor()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["OCOMPRESS_CACHE"] = folder
        done = ocompress.optimize(
            MODELS / f"{net}.onnx",
            auto=True,
            data=CALIBRATION,
            max_drop=max_drop,
            time="1h",
            measure=False,
            workers=workers,
        )
    assert done.plan is not None
    plan = done.plan
    return Row(plan.seconds, _processor() - before, len(plan.trials), str(plan.pipeline))


def _processor() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used)


if __name__ == "__main__":
    main()
