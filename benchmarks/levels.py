"""Archives of the nets of models/ by bits of a weight: size, and accuracy lost on the test images.

The bits are the same for every net and fixed beforehand, so none was chosen by what it shows here.

    python benchmarks/levels.py
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import ocompress

MODELS = Path(__file__).parents[1] / "models"
NETS = ("lenet-300-100", "lenet5", "resnet8", "vgg")
BITS = (1.0, 0.5, 0.25)


def main() -> None:
    """Print the table."""
    print("| net | `entropy{bits=…}` | .ocz, bytes | times smaller | points lost |")
    print("|---|---|---|---|---|")
    calibration, test = (MODELS / "data" / f"fashion_{part}.npz" for part in ("calib", "test"))
    with tempfile.TemporaryDirectory() as folder:
        for net in NETS:
            model, archive = MODELS / f"{net}.onnx", Path(folder) / f"{net}.ocz"
            for bits in BITS:
                passes = f"entropy{{bits={bits}}}"
                ocompress.optimize(model, archive, passes=passes, data=calibration, measure=False)
                accuracy = ocompress.validate(model, archive, test).levels[0].accuracy
                assert accuracy is not None
                size, lost = archive.stat().st_size, 100 * accuracy.drop.value
                times = model.stat().st_size / size
                print(f"| {net} | {bits} | {size:,} | {times:.1f} | {lost:.2f} |", flush=True)


if __name__ == "__main__":
    main()
