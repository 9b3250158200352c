"""Passes side by side on training images that they did not see; the test images stay untouched.

Run: python benchmarks/held_out.py --train FOLDER [--images 10000] [--seeds 1] NET:PASSES ...

`--train` names a folder with Fashion-MNIST's `train-images-idx3-ubyte.gz`; no labels are used.
Divergence and agreement are those of the result from the net of `models/`, on 10,000 images that
come after the calibration images in the same shuffled order. With `--seeds 4` each case is run with
four seeds of the passes, and has a line for each.
"""

from __future__ import annotations

import argparse
import itertools
import time
from pathlib import Path

import numpy as np
from pruning import images

from ocompress import load
from ocompress.analysis.output_errors import divergences
from ocompress.io import as_dataset
from ocompress.ir import Model
from ocompress.pipeline import PassManager, Pipeline
from ocompress.runtime import Session
from ocompress.targets import find

ROOT = Path(__file__).parents[1]
HELD, BATCH = 10_000, 500


def scores(model: Model, held: np.ndarray) -> np.ndarray:
    """Return what a model makes of images."""
    session, name = Session(model), model.graph.outputs[0].name
    parts = [held[i : i + BATCH] for i in range(0, len(held), BATCH)]
    return np.concatenate([session.run({"image": part})[name] for part in parts])


def main() -> None:
    """Run every case and print a line for each."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--train", type=Path, required=True)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("cases", nargs="+")
    given = parser.parse_args()
    every = images(given.train, given.images + HELD)
    seen, held = every[: given.images], every[given.images :]
    print("| net | how | seed | divergence, nats | agreement | s |\n" + 6 * "| --- " + "|")
    for case, seed in itertools.product(given.cases, range(given.seeds)):
        net, how = case.split(":", 1)
        model = load(ROOT / f"models/{net}.onnx")
        batches = [{"image": seen[i : i + 64]} for i in range(0, len(seen), 64)]
        start = time.perf_counter()
        manager = PassManager(target=find("host"), data=as_dataset(batches, model), seed=seed)
        made = manager.run(Pipeline.parse(how), model).model
        seconds = time.perf_counter() - start
        before, after = scores(model, held), scores(made, held)
        lost = divergences(before, after).mean()
        same = (before.argmax(1) == after.argmax(1)).mean()
        print(f"| {net} | `{how}` | {seed} | {lost:.5f} | {same:.4f} | {seconds:.1f} |", flush=True)


if __name__ == "__main__":
    main()
