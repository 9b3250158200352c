"""Pruned nets side by side: accuracy, share of zeros or channels, and speed in the same run.

Run: python benchmarks/pruning.py [--train FOLDER] [--images 10000] [--rival PYTHON] [--write]

`--train` names a folder with Fashion-MNIST's `train-images-idx3-ubyte.gz`, from which unlabelled
images are drawn with a fixed seed; without it the 1,024 of `models/data` are used. `--rival` names
a Python with onnxsim 0.8. Labels are used to report, on the 10,000 test images, and by no pass.
"""

from __future__ import annotations

import argparse
import gzip
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import measures
import net_table
import numpy as np

from ocompress import load, save
from ocompress.io import as_dataset
from ocompress.pipeline import PassManager, Pipeline
from ocompress.targets import find

ROOT = Path(__file__).parents[1]
ENDS = "protect_ends=false"
PLAIN = "criterion=l2 refit=false"
CASES: dict[str, list[str]] = {
    "lenet-300-100": [
        f"prune{{sparsity=0.9 {ENDS}}}",
        f"prune{{sparsity=0.9 {ENDS} {PLAIN}}}",
        "rival magnitude 0.9",
        "rival sparsegpt 0.9",
        f"prune{{sparsity=0.95 {ENDS}}}",
        f"prune{{sparsity=0.95 {ENDS} {PLAIN}}}",
        "rival sparsegpt 0.95",
        "prune-channels{ratio=0.5 scope=layer multiple=1}",
        "prune-channels{ratio=0.5 scope=layer multiple=1 criterion=l1 refit=false}",
        "prune-channels{ratio=0.8 scope=layer multiple=1}",
        "prune-channels{ratio=0.8 scope=layer multiple=1 criterion=l1 refit=false}",
        "rival structured_wanda 0.5",
    ],
    "lenet5": [
        f"prune{{sparsity=0.9 {ENDS}}}",
        f"prune{{sparsity=0.9 {ENDS} {PLAIN}}}",
        "rival sparsegpt 0.9",
    ],
    "resnet8": [
        f"prune{{sparsity=0.7 {ENDS}}}",
        f"prune{{sparsity=0.7 {ENDS} {PLAIN}}}",
        "rival sparsegpt 0.7",
        "prune-channels{max_macs=0.75}",
        "prune-channels{max_macs=0.75},quant",
        "quant",
        "rival structured 0.3",
        "rival structured_wanda 0.3",
    ],
    "vgg": [
        "prune-channels{max_macs=0.52}",
        "prune-channels{max_macs=0.5}",
        "prune-channels{max_macs=0.52},quant",
        "quant",
        "rival structured 0.3",
        "rival structured_wanda 0.3",
    ],
    "transformer": ["prune-channels{max_macs=0.9}", "prune-heads{ratio=0.2}"],
}


@dataclass(frozen=True)
class Row:
    """One model and what was measured of it."""

    net: str
    how: str
    accuracy: float
    drop: float
    agreement: float
    zeros: float
    parameters: float
    time: float
    seconds: float

    def cells(self) -> list[str]:
        """Return the row of the table."""
        return [
            self.net,
            f"`{self.how}`",
            f"{self.accuracy:.4f}",
            f"{100 * self.drop:+.2f}",
            f"{self.agreement:.4f}",
            f"{self.zeros:.3f}",
            f"{self.parameters:.3f}",
            f"{self.time:.2f}",
            f"{self.seconds:.1f}",
        ]


HEAD = ["net", "how", "accuracy", "drop, points", "agreement", "zeros", "parameters", "time", "s"]


def images(folder: Path | None, count: int) -> np.ndarray:
    """Return unlabelled images, float32 [count, 1, 28, 28] in [0, 1]."""
    if folder is None:
        with np.load(ROOT / "models/data/fashion_calib.npz") as stored:
            return np.asarray(stored["image"], np.float32)
    raw = gzip.decompress((folder / "train-images-idx3-ubyte.gz").read_bytes())
    every = np.frombuffer(raw, np.uint8, offset=16).reshape(-1, 1, 28, 28)
    chosen = np.random.default_rng(0).permutation(len(every))[:count]
    return every[chosen].astype(np.float32) / 255


def weights(path: Path) -> tuple[int, int]:
    """Return numbers in matrices and kernels, and how many of them are zero."""
    arrays = [w for w in load(path).weights() if w.ndim >= 2 and w.dtype.kind in "fi"]
    return sum(a.size for a in arrays), sum(int((a == 0).sum()) for a in arrays)


class Bench:
    """Runs the cases of one net."""

    def __init__(self, net: str, train: np.ndarray, rival: str | None, folder: Path) -> None:
        """Load the net and the test images."""
        self.net, self.rival, self.folder = net, rival, folder
        self.path = ROOT / f"models/{net}.onnx"
        self.model = load(self.path)
        batches = [{"image": train[i : i + 64]} for i in range(0, len(train), 64)]
        self.data = as_dataset(batches, self.model)
        self.feeds = folder / "feeds.npz"
        np.savez(self.feeds, image=train[:1024])
        with np.load(ROOT / "models/data/fashion_test.npz") as stored:
            test, self.labels = stored["image"].astype(np.float32), stored["label"]
        self.test = as_dataset(
            [{"image": test[i : i + 500]} for i in range(0, 10000, 500)], self.model
        )
        self.reference = measures.outputs(self.path, self.test)
        self.size = weights(self.path)[0]

    def rows(self) -> Iterator[Row]:
        """Run every case."""
        base = self._accuracy(self.reference)
        yield Row(self.net, "float", base, 0, 1, 0, 1, 1, 0)
        for how in CASES[self.net]:
            path = self.folder / "out.onnx"
            start = time.perf_counter()
            if not self._make(how, path):
                continue
            seconds = time.perf_counter() - start
            made = measures.outputs(path, self.test)
            accuracy = self._accuracy(made)
            before, after = measures.latencies([self.path, path], self.test, 1, 2.0)
            size, zeros = weights(path)
            same = measures.agreement(self.reference, made)
            name = how.replace("rival", "onnxsim")
            yield Row(
                self.net, name, accuracy, accuracy - base, same,
                zeros / size, size / self.size, after / before, seconds,
            )  # fmt: skip

    def _accuracy(self, made: measures.Outputs) -> float:
        return float((np.concatenate(made).argmax(1) == self.labels).mean())

    def _make(self, how: str, path: Path) -> bool:
        if not how.startswith("rival"):
            manager = PassManager(target=find("host"), data=self.data)
            save(manager.run(Pipeline.parse(how), self.model).model, path)
            return True
        if self.rival is None:
            return False
        _, method, share = how.split()
        script = Path(__file__).with_name("prune_rival.py")
        call = [self.rival, script, method, share, self.path, path, self.feeds]
        return subprocess.run([str(c) for c in call], check=False).returncode == 0


def main() -> None:
    """Run all nets and print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--train", type=Path)
    parser.add_argument("--images", type=int, default=10000)
    parser.add_argument("--rival")
    parser.add_argument("--only", nargs="*", default=list(CASES))
    parser.add_argument("--write", action="store_true", help="write docs/pruning.md")
    given = parser.parse_args()
    page = ROOT / "docs/pruning.md"
    rows = net_table.rows_of(page)
    train = images(given.train, given.images)
    print(net_table.line_of(HEAD) + "\n|" + " --- |" * len(HEAD))
    with tempfile.TemporaryDirectory() as folder:
        for net in given.only:
            rows[net] = []
            for row in Bench(net, train, given.rival, Path(folder)).rows():
                rows[net].append(net_table.line_of(row.cells()))
                print(rows[net][-1], flush=True)
    if given.write:
        net_table.write(page, HEAD, rows, list(CASES))


if __name__ == "__main__":
    main()
