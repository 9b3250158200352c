"""Archives beside what two rivals make of the same net: bytes, and how often outputs agree.

Each row of ours is one `ocompress optimize` of this very run, with the limits that are given:

    python benchmarks/archives.py MODEL CALIBRATION TEST --ours max_size=0.1x ...

RIQ is rotation-invariant quantization (Kampeas et al., 2023) with this project's coder: every
weight is rounded to nearest with a step in proportion to the norm of its layer, one number for all
layers says how finely: 1/k + 0.01 sqrt(24 / weights of the layer). The coarsest is taken at which
outputs on the calibration data keep the mean cosine that is asked for. Biases stay. NNCodec needs a
Python that has it, and only the tensors count for it, not the graph.

`--ours` gives settings of `entropy` and limits as `ocompress.optimize` has them, `--cosines` those
of RIQ, `--rivals` a Python that has NNCodec, `--qps` its parameters. Where TEST has labels, points
of accuracy that are lost stand there with their interval (95 %). Seconds are those of the
processor, for all that makes the row.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import tempfile
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

import ocompress
from benchmarks.measures import Outputs, agreement, outputs
from ocompress.io import Dataset, as_dataset, load_model, pack_model, unpack_model

Row = tuple[str, int, Path, float]
"""How it was made, bytes, the net, and processor seconds."""
_READERS = ("Conv", "Gemm", "MatMul")
_LEAST = 0.01
_HALVINGS = 10
_PATIENCE = 300
"""Seconds by the clock that a rival may take for a row."""


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
        start = seconds()
        coarsest(onnx.load(given.model), path, calibration, least)
        pack_model(path, archive)
        yield f"RIQ, cosine {least}", archive.stat().st_size, path, seconds() - start


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
        start = seconds()
        how = f"NNCodec 2.1.3, qp {qp}"
        try:
            done = subprocess.run(
                command, check=True, capture_output=True, text=True, timeout=_PATIENCE
            )
        except subprocess.TimeoutExpired:
            print(f"| {given.model.stem} | {how} | not done in {_PATIENCE} s | | | | |", flush=True)
            continue
        taken = seconds() - start
        with np.load(target) as decoded:
            for key, tensor in names.items():
                found = decoded[key].astype(np.float32).reshape(tensor.dims)
                tensor.CopyFrom(numpy_helper.from_array(found, tensor.name))
        onnx.save(model, path)
        yield how, int(done.stdout.split()[-1]), path, taken


def ours(given: argparse.Namespace, folder: Path) -> Iterator[Row]:
    """Yield a row for each setting."""
    path, archive = folder / "ours.onnx", folder / "ours.ocz"
    for setting in given.ours:
        limits = dict(part.split("=") for part in setting.split(","))
        data = given.calibration if "data" not in limits else Path(limits.pop("data"))
        inside = {"max_size"} & limits.keys() if limits.get("max_size", "x").isdigit() else set()
        options = " ".join(f"{name}={limits.pop(name)}" for name in sorted(inside))
        start = seconds()
        ocompress.optimize(
            given.model,
            archive,
            passes=f"entropy{{{options}}}" if options else "entropy",
            data=data,
            measure=False,
            max_latency=None,
            **({"samples": int(limits.pop("samples"))} if "samples" in limits else {}),
            **limits,
        )
        taken = seconds() - start
        unpack_model(archive, path)
        shown = setting.replace(str(data), data.stem)
        yield f"`entropy`, {shown}", archive.stat().st_size, path, taken


def seconds() -> float:
    """Return the processor seconds of this process and of those that it waited for."""
    return sum(os.times()[:4])


def lost(reference: Path, made: Path, test: Path) -> str:
    """Return points of accuracy lost, with their interval; a dash where there are no labels."""
    found = ocompress.validate(reference, made, test, max_drop=1.0).levels[0].accuracy
    if found is None:
        return "-"
    low, value, high = (100 * x for x in (found.drop.low, found.drop.value, found.drop.high))
    return f"{value:.2f} ({low:.2f} to {high:.2f})"


HEAD = (
    "| net | how | bytes | times smaller | points lost (95 %) | agreement | seconds |\n"
    "|---|---|---|---|---|---|---|"
)


def print_rows(given: argparse.Namespace) -> None:
    """Print a row of the table for each way to make the net small."""
    whole = load_model(given.model)
    calibration, test = (as_dataset(path, whole) for path in (given.calibration, given.test))
    reference = outputs(given.model, test)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = chain(ours(given, folder), riq(given, calibration, folder), nncodec(given, folder))
        for how, size, path, taken in rows:
            times = given.model.stat().st_size / size
            same = agreement(reference, outputs(path, test))
            points = lost(given.model, path, given.test)
            row = f"| {given.model.stem} | {how} | {size:,} | {times:.1f} | {points} "
            print(f"{row}| {same:.3f} | {taken:.0f} |", flush=True)


def arguments() -> argparse.ArgumentParser:
    """Return what is common to all runs: settings of each side."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--ours", nargs="*", default=[], help="max_size=0.1x, ...")
    parser.add_argument("--cosines", type=float, nargs="*", default=[])
    parser.add_argument("--rivals", help="a Python that has nncodec")
    parser.add_argument("--qps", type=int, nargs="*", default=[])
    return parser


def main() -> None:
    """Print the table."""
    parser = arguments()
    for name in ("model", "calibration", "test"):
        parser.add_argument(name, type=Path)
    print(HEAD)
    print_rows(parser.parse_args())


if __name__ == "__main__":
    main()
