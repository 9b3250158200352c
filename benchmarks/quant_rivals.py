"""int8 quantization against ONNX Runtime's own, same model, same data, same run.

    python benchmarks/quant_rivals.py MODEL --data CALIBRATION --eval EVALUATION

Both data arguments take what `ocompress optimize --data` takes. Rows: this compiler, ONNX
Runtime's `quantize_static` (U8S8, per channel, min-max) and the same with `reduce_range`.
A rival that fails is a row with its error. SQNR and agreement (of the largest entry along the last
axis) are against the float model over all evaluation feeds; latency is the median of interleaved
runs on one thread, relative to the float model.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnxruntime as ort

from ocompress.io import Dataset, load_data, load_model, save_model
from ocompress.pipeline import PassManager, Pipeline
from ocompress.targets import find

Outputs = list[np.ndarray]


def ours(source: Path, result: Path, data: Dataset, target: str, passes: str) -> None:
    """Quantize with this compiler."""
    manager = PassManager(target=find(target), data=data)
    save_model(manager.run(Pipeline.parse(passes), load_model(source)).model, result)


def theirs(source: Path, result: Path, data: Dataset, *, reduce_range: bool) -> None:
    """Quantize with ONNX Runtime."""
    from onnxruntime import quantization as q

    class Reader(q.CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._feeds: Iterator[object] = iter(data)

        def get_next(self) -> object:
            return next(self._feeds, None)

    q.quantize_static(
        str(source),
        str(result),
        Reader(),
        quant_format=q.QuantFormat.QDQ,
        per_channel=True,
        activation_type=q.QuantType.QUInt8,
        weight_type=q.QuantType.QInt8,
        calibrate_method=q.CalibrationMethod.MinMax,
        reduce_range=reduce_range,
    )


def session(path: Path) -> ort.InferenceSession:
    """Load a model on one thread."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def outputs(path: Path, data: Dataset) -> Outputs:
    """Return the first output for every feed."""
    loaded = session(path)
    return [np.asarray(loaded.run(None, dict(feed))[0]) for feed in data]


def sqnr(reference: Outputs, other: Outputs) -> float:
    """Return the signal-to-noise ratio, dB."""
    signal = sum(float(np.square(a, dtype=np.float64).sum()) for a in reference)
    pairs = zip(reference, other, strict=True)
    noise = sum(float(np.square(a.astype(np.float64) - b).sum()) for a, b in pairs)
    return 10 * float(np.log10(signal / noise)) if noise else float("inf")


def agreement(reference: Outputs, other: Outputs) -> float:
    """Return the share of places where the largest entry of the last axis is the same one."""
    pairs = zip(reference, other, strict=True)
    same = [(a.argmax(-1) == b.argmax(-1)).reshape(-1) for a, b in pairs]
    return float(np.concatenate(same).mean())


def latencies(paths: list[Path], data: Dataset, rounds: int) -> list[float]:
    """Return median milliseconds of interleaved runs of the first feed."""
    feed = dict(next(iter(data)))
    loaded = [session(p) for p in paths]
    times: list[list[float]] = [[] for _ in paths]
    for number in range(rounds + 3):
        for index, one in enumerate(loaded):
            start = time.perf_counter()
            one.run(None, feed)
            if number >= 3:
                times[index].append((time.perf_counter() - start) * 1e3)
    return [float(np.median(t)) for t in times]


def main() -> int:
    """Run and print a table, or JSON lines."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--data", required=True, help="calibration data")
    parser.add_argument("--eval", required=True, help="evaluation data, disjoint from --data")
    parser.add_argument("--samples", type=int, default=128, help="calibration samples")
    parser.add_argument("--target", default="portable")
    parser.add_argument("--passes", default="quant")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    model = load_model(given.model)
    data = load_data(given.data, model, samples=given.samples)
    evaluation = load_data(given.eval, model)
    makers: dict[str, Callable[[Path], None]] = {
        "ocompress": lambda p: ours(given.model, p, data, given.target, given.passes),
        "ORT U8S8": lambda p: theirs(given.model, p, data, reduce_range=False),
        "ORT U8S8 reduce_range": lambda p: theirs(given.model, p, data, reduce_range=True),
    }
    reference = outputs(given.model, evaluation)
    with tempfile.TemporaryDirectory() as folder:
        for name, make in makers.items():
            path = Path(folder) / f"{name}.onnx"
            row: dict[str, object] = {"model": given.model.name, "tool": name}
            start = time.perf_counter()
            try:
                make(path)
                row["seconds"] = round(time.perf_counter() - start, 1)
                got = outputs(path, evaluation)
            except Exception as error:
                row["error"] = str(error).strip().splitlines()[-1][:120]
                print(json.dumps(row))
                continue
            before, after = latencies([given.model, path], evaluation, given.rounds)
            row |= {
                "bytes": round(path.stat().st_size / given.model.stat().st_size, 3),
                "sqnr_db": round(sqnr(reference, got), 2),
                "agreement": round(agreement(reference, got), 4),
                "latency_ratio": round(after / before, 3),
            }
            print(json.dumps(row) if given.json else "  ".join(f"{k} {v}" for k, v in row.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
