"""Shared weights and codebooks on the nets of models/: sizes, and accuracy lost on the test images.

The settings are the same for every net and fixed beforehand, so none was chosen by what it shows
here. Rows with `fit=false` are plain k-means, each weight or block on the nearest value.

    python benchmarks/sharing.py [--tensors] [NET ...]

`--tensors` prints a row for every weight, too: values or codewords, bits, and its error.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import ocompress
from ocompress.report.optimization import Optimization

MODELS = Path(__file__).parents[1] / "models"
NETS = ("lenet-300-100", "lenet5", "resnet8", "vgg", "mobilenet", "transformer")
PASSES = (
    "cluster{bits=4 fit=false}",
    "cluster{bits=4}",
    "cluster{bits=3 fit=false}",
    "cluster{bits=3}",
    "cluster{mean_bits=3}",
    "codebook{codewords=256 fit=false}",
    "codebook{codewords=256}",
    "codebook{codewords=256 scope=model}",
)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--tensors", action="store_true")
    parser.add_argument("nets", nargs="*")
    given = parser.parse_args()
    print("| net | passes | bytes | packed | .ocz | times smaller | points lost |")
    print("|---|---|---|---|---|---|---|")
    calibration, test = (MODELS / "data" / f"fashion_{part}.npz" for part in ("calib", "test"))
    with tempfile.TemporaryDirectory() as folder:
        for net in given.nets or NETS:
            model = MODELS / f"{net}.onnx"
            plain, packed, archive = (
                Path(folder) / name for name in ("plain.onnx", "packed.onnx", "coded.ocz")
            )
            for passes in PASSES:
                done = ocompress.optimize(
                    model, plain, passes=passes, data=calibration, measure=False
                )
                ocompress.optimize(plain, packed, storage="packed", measure=False)
                ocompress.optimize(plain, archive, passes="canonicalize", measure=False)
                accuracy = ocompress.validate(model, packed, test).levels[0].accuracy
                assert accuracy is not None
                sizes = [path.stat().st_size for path in (plain, packed, archive)]
                times = " / ".join(f"{model.stat().st_size / size:.1f}" for size in sizes[1:])
                cells = [net, f"`{passes}`", *(f"{size:,}" for size in sizes), times]
                print(f"| {' | '.join(cells)} | {100 * accuracy.drop.value:.2f} |", flush=True)
                if given.tensors:
                    _tensors(done)


def _tensors(done: Optimization) -> None:
    """Print a row for every weight that was looked at."""
    for each in done.pipeline.records:
        for row in (*each.details.get("clusters", ()), *each.details.get("codebooks", ())):
            shared = f"{row.get('codewords', row.get('values', '-'))}"
            words = f"{shared} of {row['block']}" if "block" in row else shared
            error = row.get("refitted_error")
            tail = "" if error is None else f", error {100 * error:.3f} % of the outputs' power"
            print(f"    {row['name']}: {words}, {row.get('bits', 32):.2f} bits a weight{tail}")


if __name__ == "__main__":
    main()
