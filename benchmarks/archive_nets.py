"""The nets of models/ as archives, and what rivals make of them: the table of docs/storage.md.

    python benchmarks/archive_nets.py --train FOLDER [--rivals PYTHON] [NET ...]

`--train` names a folder with Fashion-MNIST's `train-images-idx3-ubyte.gz`, of which no labels are
used; rows that are calibrated on it are left out without. Sizes were set beforehand. NNCodec needs
a Python that has it (`--rivals`).
"""

from __future__ import annotations

import argparse
import gzip
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.archives import HEAD, arguments, print_rows

ROOT = Path(__file__).parents[1]
SETTINGS = {
    "lenet-300-100": (
        "max_size=23700,data={train}",
        "max_size=23700,data={train},samples=12500",
        "max_size=13200,max_drop=5%,data={train},samples=12500",
    ),
    "lenet5": ("max_size=34000", "max_size=20000,max_drop=2%"),
    "resnet8": ("max_size=57000",),
    "vgg": ("max_size=92000",),
}
COSINES, QPS = (0.995,), (-24, -16)


def images(folder: Path) -> np.ndarray:
    """Return all training images in an order that does not tell classes, float32 [n, 1, 28, 28]."""
    raw = gzip.decompress((folder / "train-images-idx3-ubyte.gz").read_bytes())
    every = np.frombuffer(raw, np.uint8, offset=16).reshape(-1, 1, 28, 28)
    mixed = every[np.random.default_rng(0).permutation(len(every))]
    return np.asarray(mixed.astype(np.float32) / 255)


def main() -> None:
    """Print the table."""
    parser = arguments()
    parser.add_argument("--train", type=Path)
    parser.add_argument("nets", nargs="*", default=[], metavar="NET")
    given = parser.parse_args()
    print(HEAD)
    with tempfile.TemporaryDirectory() as folder:
        train = Path(folder) / "train.npz"
        if given.train is not None:
            np.savez(train, image=images(given.train))
        for net in given.nets or SETTINGS:
            every = (s for s in SETTINGS[net] if train.exists() or "{train}" not in s)
            print_rows(
                argparse.Namespace(
                    model=ROOT / f"models/{net}.onnx",
                    calibration=ROOT / "models/data/fashion_calib.npz",
                    test=ROOT / "models/data/fashion_test.npz",
                    ours=[s.format(train=train) for s in every],
                    cosines=given.cosines or COSINES,
                    qps=given.qps or QPS,
                    rivals=given.rivals,
                )
            )


if __name__ == "__main__":
    main()
