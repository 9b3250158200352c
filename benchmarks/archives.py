"""Archives beside what two rivals make of the same net: bytes, and how often outputs agree.

RIQ is rotation-invariant quantization (Kampeas et al., 2023) with this project's coder: every
weight is rounded to nearest with a step in proportion to the norm of its layer, one number for all
layers says how finely: 1/k + 0.01 sqrt(24 / weights of the layer). The coarsest is taken at which
outputs on the calibration data keep the mean cosine that is asked for. Biases stay. NNCodec needs a
Python that has it, and only the tensors count for it, not the graph.

    python benchmarks/archives.py MODEL CALIBRATION TEST [ARCHIVE.ocz ...]

`--cosines` gives those of RIQ, `--rivals` a Python that has NNCodec, `--qps` its parameters.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from benchmarks.measures import Outputs, agreement, outputs
from ocompress.io import Dataset, as_dataset, load_model, pack_model, unpack_model

Row = tuple[str, int, Path]
"""How it was made, bytes, and the net."""
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


def riq(given: argparse.Namespace, calibration: Dataset, folder: Path) -> Iterator[Row]:
    """Yield a row for each cosine."""
    for least in given.cosines:
        path, archive = folder / "riq.onnx", folder / "riq.ocz"
        coarsest(onnx.load(given.model), path, calibration, least)
        pack_model(path, archive)
        yield f"RIQ, cosine {least}", archive.stat().st_size, path


def nncodec(given: argparse.Namespace, folder: Path) -> Iterator[Row]:
    """Yield a row for each parameter of its quantizer."""
    model = onnx.load(given.model)
    floats = [t for t in model.graph.initializer if t.data_type == onnx.TensorProto.FLOAT]
    source, target, path = (folder / name for name in ("t.npz", "d.npz", "nncodec.onnx"))
    names = {f"t{at}": tensor for at, tensor in enumerate(floats) if tensor.dims}
    np.savez(source, **{key: numpy_helper.to_array(tensor) for key, tensor in names.items()})
    script = Path(__file__).parent / "rival_codec.py"
    for qp in given.qps if given.rivals else ():
        command = [given.rivals, str(script), str(source), str(target), str(qp)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        with np.load(target) as decoded:
            for key, tensor in names.items():
                found = decoded[key].astype(np.float32).reshape(tensor.dims)
                tensor.CopyFrom(numpy_helper.from_array(found, tensor.name))
        onnx.save(model, path)
        yield f"NNCodec 2.1.3, qp {qp}", int(done.stdout.split()[-1]), path


def ours(given: argparse.Namespace, folder: Path) -> Iterator[Row]:
    """Yield a row for each archive."""
    for archive in given.archives:
        path = folder / "ours.onnx"
        unpack_model(archive, path)
        yield archive.name, archive.stat().st_size, path


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    for name in ("model", "calibration", "test"):
        parser.add_argument(name, type=Path)
    parser.add_argument("archives", type=Path, nargs="*")
    parser.add_argument("--cosines", type=float, nargs="*", default=[])
    parser.add_argument("--rivals", help="a Python that has nncodec")
    parser.add_argument("--qps", type=int, nargs="*", default=[])
    given = parser.parse_args()
    whole = load_model(given.model)
    calibration, test = (as_dataset(path, whole) for path in (given.calibration, given.test))
    reference = outputs(given.model, test)
    print("| how | bytes | times smaller | agreement |")
    print("|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = chain(ours(given, folder), riq(given, calibration, folder), nncodec(given, folder))
        for how, size, path in rows:
            times = given.model.stat().st_size / size
            same = agreement(reference, outputs(path, test))
            print(f"| {how} | {size:,} | {times:.1f} | {same:.3f} |", flush=True)


if __name__ == "__main__":
    main()
