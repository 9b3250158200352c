"""Factorized nets side by side: accuracy, work that is left, and speed in the same run.

Run: python benchmarks/factorization.py [--train FOLDER] [--images 10000] [--only NET ...] [--write]

`--train` names a folder with Fashion-MNIST's `train-images-idx3-ubyte.gz`, from which unlabelled
images are drawn with a fixed seed; without it the 1,024 of `models/data` are used. Every case with
data is followed by the same share of work without them. Labels are used to report, on the 10,000
test images, and by no pass. `--write` puts the table into docs/factorization.md; with `--only`,
rows of other nets stay as they are.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import measures
import net_table
import numpy as np
from pruning import ROOT, images

from ocompress import load, save
from ocompress.analysis.work import work_of
from ocompress.io import as_dataset
from ocompress.ir import Model
from ocompress.pipeline import PassManager, Pipeline
from ocompress.profiling import LatencyGuard
from ocompress.targets import find

FREE = "data_free=true"
FIRST = 'layers=["/1/Gemm"]'
CASES: dict[str, list[str]] = {
    "lenet-300-100": [
        f"factorize{{max_weights=0.25 {FIRST}}}",
        f"factorize{{max_weights=0.25 {FIRST} {FREE}}}",
        f'factorize{{max_weights=0.25 methods=["channel"] {FIRST}}}',
        f'factorize{{max_weights=0.25 methods=["channel"] {FIRST} {FREE}}}',
    ],
    "lenet5": [
        "factorize{max_macs=0.5}",
        f"factorize{{max_macs=0.5 {FREE}}}",
        "separable{max_macs=0.5}",
        f"separable{{max_macs=0.5 {FREE}}}",
        "quant",
        "factorize{max_macs=0.5},quant",
        "separable{max_macs=0.5},quant",
        "prune-channels{max_macs=0.7},factorize{max_macs=0.7},quant",
    ],
    "mobilenet": [
        "factorize{max_macs=0.9}",
        f"factorize{{max_macs=0.9 {FREE}}}",
        "quant",
        "factorize{max_macs=0.9},quant",
    ],
    "resnet8": [
        "factorize{max_macs=0.7}",
        f"factorize{{max_macs=0.7 {FREE}}}",
        "factorize{max_macs=0.5}",
        f"factorize{{max_macs=0.5 {FREE}}}",
        "separable{max_macs=0.7}",
        f"separable{{max_macs=0.7 {FREE}}}",
        "quant",
        "factorize{max_macs=0.7},quant",
        "separable{max_macs=0.7},quant",
        "prune-channels{max_macs=0.85},factorize{max_macs=0.8},quant",
    ],
    "vgg": [
        "factorize{max_macs=0.2857}",
        f"factorize{{max_macs=0.2857 {FREE}}}",
        "separable{max_macs=0.4}",
        f"separable{{max_macs=0.4 {FREE}}}",
        "quant",
        "factorize{max_macs=0.2857},quant",
        "separable{max_macs=0.4},quant",
        "prune-channels{max_macs=0.75},factorize{max_macs=0.4},quant",
    ],
    "transformer": [
        "factorize{max_macs=0.8}",
        f"factorize{{max_macs=0.8 {FREE}}}",
        "quant",
        "factorize{max_macs=0.8},quant",
    ],
}
HEAD = ["net", "how", "accuracy", "drop, points", "agreement", "work", "bytes", "time", "s"]


class Bench:
    """Runs the cases of one net."""

    def __init__(self, net: str, train: np.ndarray, folder: Path) -> None:
        """Load the net and the test images."""
        self.net, self.folder = net, folder
        self.path = ROOT / f"models/{net}.onnx"
        self.model = load(self.path)
        batches = [{"image": train[i : i + 64]} for i in range(0, len(train), 64)]
        self.data, self.one = as_dataset(batches, self.model), train[:1]
        with np.load(ROOT / "models/data/fashion_test.npz") as stored:
            test, self.labels = stored["image"].astype(np.float32), stored["label"]
        self.test = as_dataset(
            [{"image": test[i : i + 500]} for i in range(0, 10000, 500)], self.model
        )
        self.reference = measures.outputs(self.path, self.test)
        self.base = self._accuracy(self.reference)

    def rows(self) -> Iterator[list[str]]:
        """Run every case and yield the cells of its row."""
        yield [self.net, "float", f"{self.base:.4f}", "", "", "1", "1", "1", ""]
        for how in CASES[self.net]:
            path = self.folder / "out.onnx"
            start = time.perf_counter()
            guard = LatencyGuard(self.model, {"image": self.one})
            manager = PassManager(target=find("host"), data=self.data, guards=[guard])
            save(manager.run(Pipeline.parse(how), self.model).model, path)
            seconds = time.perf_counter() - start
            made = measures.outputs(path, self.test)
            accuracy = self._accuracy(made)
            before, after = measures.latencies([self.path, path], self.test, 1, 2.0)
            sizes = [p.stat().st_size for p in (path, self.path)]
            yield [
                self.net,
                f"`{how}`",
                f"{accuracy:.4f}",
                f"{100 * (accuracy - self.base):+.2f}",
                f"{measures.agreement(self.reference, made):.4f}",
                "" if "quant" in how else f"{_work(load(path)) / _work(self.model):.3f}",
                f"{sizes[0] / sizes[1]:.3f}",
                f"{after / before:.2f}",
                f"{seconds:.0f}",
            ]

    def _accuracy(self, made: measures.Outputs) -> float:
        return float((np.concatenate(made).argmax(1) == self.labels).mean())


def _work(model: Model) -> float:
    return sum(work_of(model, {"image": np.zeros((1, 1, 28, 28), np.float32)}).values())


def main() -> None:
    """Run all nets and print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--train", type=Path)
    parser.add_argument("--images", type=int, default=10000)
    parser.add_argument("--only", nargs="*", default=list(CASES))
    parser.add_argument("--write", action="store_true", help="write docs/factorization.md")
    given = parser.parse_args()
    page = ROOT / "docs/factorization.md"
    known = net_table.rows_of(page)
    train = images(given.train, given.images)
    with tempfile.TemporaryDirectory() as folder:
        for net in given.only:
            known[net] = []
            for cells in Bench(net, train, Path(folder)).rows():
                known[net].append(net_table.line_of(cells))
                print(known[net][-1], flush=True)
    if given.write:
        net_table.write(page, HEAD, known, list(CASES))


if __name__ == "__main__":
    main()
