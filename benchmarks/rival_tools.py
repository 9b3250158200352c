"""One quantizer in one process, for `run.py`: reads a model and feeds, writes a model.

    python benchmarks/rival_tools.py TOOL MODEL RESULT FEEDS

FEEDS is a folder of `.npz` files, one a call. Prints JSON: seconds of the work without imports, and
the peak of resident memory in MiB. Every tool imports its own library only, so that each can live
in an environment of its own.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

Feed = dict[str, Any]
Work = Callable[[Path, Path, list[Feed]], None]


def ocompress(text: str) -> Work:
    """Return this compiler with some passes, for any machine."""
    from ocompress.io import as_dataset, load_model, save_model
    from ocompress.pipeline import PassManager, Pipeline
    from ocompress.targets import find

    def work(source: Path, result: Path, feeds: list[Feed]) -> None:
        model = load_model(source)
        manager = PassManager(target=find("portable"), data=as_dataset(feeds, model))
        save_model(manager.run(Pipeline.parse(text), model).model, result)

    return work


def ort(method: str, *, reduce_range: bool = False, signed: bool = False) -> Work:
    """Return ONNX Runtime's `quantize_static`, QDQ, int8 weights per channel."""
    from onnxruntime import quantization as q

    class Reader(q.CalibrationDataReader):  # type: ignore[misc]
        def __init__(self, feeds: list[Feed]) -> None:
            self._feeds: Iterator[Feed] = iter(feeds)

        def get_next(self) -> Feed | None:
            return next(self._feeds, None)

    def work(source: Path, result: Path, feeds: list[Feed]) -> None:
        q.quantize_static(
            str(source),
            str(result),
            Reader(feeds),
            quant_format=q.QuantFormat.QDQ,
            per_channel=True,
            activation_type=q.QuantType.QInt8 if signed else q.QuantType.QUInt8,
            weight_type=q.QuantType.QInt8,
            calibrate_method=q.CalibrationMethod[method],
            reduce_range=reduce_range,
        )

    return work


def nncf(*, fast: bool) -> Work:
    """Return NNCF's post-training quantization with its default preset."""
    import nncf as library
    import onnx

    def work(source: Path, result: Path, feeds: list[Feed]) -> None:
        model = library.quantize(
            onnx.load(source),
            library.Dataset(feeds),
            subset_size=len(feeds),
            fast_bias_correction=fast,
        )
        onnx.save(model, result)

    return work


TOOLS: dict[str, Callable[[], Work]] = {
    "ocompress": lambda: ocompress("quant"),
    "ocompress, fastest": lambda: ocompress("quant{noise_price=0}"),
    "ocompress, dynamic": lambda: ocompress("quant-dynamic,quant-weights{kernel=fold}"),
    "ORT U8S8 MinMax": lambda: ort("MinMax"),
    "ORT U8S8 MinMax, reduce_range": lambda: ort("MinMax", reduce_range=True),
    "ORT U8S8 Entropy": lambda: ort("Entropy"),
    "ORT U8S8 Percentile": lambda: ort("Percentile"),
    "ORT S8S8 MinMax": lambda: ort("MinMax", signed=True),
    "NNCF": lambda: nncf(fast=True),
    "NNCF, full bias correction": lambda: nncf(fast=False),
}


def peak_mib() -> float:
    """Return the peak of this process alone; `getrusage` counts what its parent held, too."""
    try:
        status = Path("/proc/self/status").read_text(encoding="utf-8")
        return int(status.partition("VmHWM:")[2].split()[0]) / 1024
    except (OSError, IndexError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Do the work and say what it took."""
    tool, source, result, folder = sys.argv[1:]
    feeds = []
    for path in sorted(Path(folder).glob("*.npz")):
        with np.load(path, allow_pickle=False) as arrays:
            feeds.append({name: arrays[name] for name in arrays.files})
    work = TOOLS[tool]()
    start = time.perf_counter()
    work(Path(source), Path(result), feeds)
    seconds = time.perf_counter() - start
    print(json.dumps({"seconds": round(seconds, 1), "mib": round(peak_mib())}))


if __name__ == "__main__":
    main()
