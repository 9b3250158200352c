"""Rotation-invariant quantization (Kampeas et al., 2023) with this project's coder, as a rival.

Every weight is rounded to nearest with a step in proportion to the norm of its layer, one number
for all layers says how finely: 1/k + 0.01 sqrt(24 / weights of the layer). The coarsest is taken
at which outputs on the calibration data keep the mean cosine that is asked for. Biases stay.

    python benchmarks/riq.py MODEL CALIBRATION TEST [--cosines 0.995 ...]
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from benchmarks.measures import Outputs, agreement, outputs
from ocompress.io import Dataset, as_dataset, load_model, pack_model

_READERS = ("Conv", "Gemm", "MatMul")
_LEAST = 0.01
_HALVINGS = 10


def rounded(model: onnx.ModelProto, inverse: float) -> onnx.ModelProto:
    """Return a model with its weights rounded, given 1/k."""
    found = onnx.ModelProto()
    found.CopyFrom(model)
    weights = {n.input[1] for n in found.graph.node if n.op_type in _READERS}
    for tensor in found.graph.initializer:
        if tensor.name in weights:
            values = numpy_helper.to_array(tensor).astype(np.float64)
            times = inverse + _LEAST * np.sqrt(24 / values.size)
            step = np.float32(np.linalg.norm(values) * times)
            levels = np.rint(values / step).astype(np.float32) + np.float32(0)
            tensor.CopyFrom(numpy_helper.from_array(levels * step, tensor.name))
    return found


def cosine(reference: Outputs, other: Outputs) -> float:
    """Return the mean cosine of outputs, sample by sample."""
    rows = [[a.reshape(len(a), -1) for a in side] for side in (reference, other)]
    first, second = (np.concatenate(side).astype(np.float64) for side in rows)
    norms = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    return float(((first * second).sum(axis=1) / norms).mean())


def coarsest(model: onnx.ModelProto, path: Path, data: Dataset, least: float) -> None:
    """Write the coarsest rounding that keeps a mean cosine, found by halving."""
    onnx.save(model, path)
    reference = outputs(path, data)
    low, high = -16.0, 0.0  # of 1/k, in powers of two
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        onnx.save(rounded(model, 2.0**middle), path)
        kept = cosine(reference, outputs(path, data)) >= least
        low, high = (middle, high) if kept else (low, middle)
    onnx.save(rounded(model, 2.0**low), path)


def main() -> None:
    """Print a row for each cosine."""
    parser = argparse.ArgumentParser()
    parser.add_argument("model", type=Path)
    parser.add_argument("calibration", type=Path)
    parser.add_argument("test", type=Path)
    parser.add_argument("--cosines", type=float, nargs="+", default=[0.995])
    given = parser.parse_args()
    whole = load_model(given.model)
    calibration, test = (as_dataset(path, whole) for path in (given.calibration, given.test))
    reference = outputs(given.model, test)
    print("| cosine | .ocz, bytes | times smaller | agreement |")
    print("|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        path, archive = Path(folder) / "riq.onnx", Path(folder) / "riq.ocz"
        for least in given.cosines:
            coarsest(onnx.load(given.model), path, calibration, least)
            pack_model(path, archive)
            size = archive.stat().st_size
            times = given.model.stat().st_size / size
            same = agreement(reference, outputs(path, test))
            print(f"| {least} | {size:,} | {times:.1f} | {same:.3f} |", flush=True)


if __name__ == "__main__":
    main()
