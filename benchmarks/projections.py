"""Nets of models/ with projected weights: size once packed, accuracy lost on the test images.

The settings are the same for every net and fixed beforehand, so none was chosen by what it shows.

    python benchmarks/projections.py [NET ...]
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import ocompress

MODELS = Path(__file__).parents[1] / "models"
NETS = ("lenet-300-100", "lenet5", "resnet8", "mobilenet", "transformer", "vgg")
PASSES = (
    *("binarize{planes=1}", "binarize{planes=2}", "binarize{planes=3}", "binarize{ternary=true}"),
    *("random-code{bits=8 block=8}", "random-code{bits=12 block=8}", "hash{ratio=4}"),
    *("circulant{block=4}", "fastfood{block=4}"),
)


def main() -> None:
    """Print the table."""
    print("| net | pass | packed, bytes | times smaller | points lost |")
    print("|---|---|---|---|---|")
    calibration, test = (MODELS / "data" / f"fashion_{part}.npz" for part in ("calib", "test"))
    with tempfile.TemporaryDirectory() as folder:
        for net in sys.argv[1:] or NETS:
            model, packed = MODELS / f"{net}.onnx", Path(folder) / f"{net}.onnx"
            for passes in PASSES:
                ocompress.optimize(
                    model, packed, passes=passes, data=calibration, storage="packed", measure=False
                )
                accuracy = ocompress.validate(model, packed, test).levels[0].accuracy
                assert accuracy is not None
                size, lost = packed.stat().st_size, 100 * accuracy.drop.value
                times = model.stat().st_size / size
                print(f"| {net} | `{passes}` | {size:,} | {times:.1f} | {lost:.2f} |", flush=True)


if __name__ == "__main__":
    main()
