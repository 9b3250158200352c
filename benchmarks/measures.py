"""What is measured of a quantized model against its float one."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime as ort

from ocompress.io import Dataset

Outputs = list[np.ndarray]


def session(path: Path, threads: int = 1) -> ort.InferenceSession:
    """Load a model."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def outputs(path: Path, data: Dataset) -> Outputs:
    """Return the first output for every feed."""
    loaded = session(path, threads=2)
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


def latencies(paths: Sequence[Path], data: Dataset, threads: int, seconds: float) -> list[float]:
    """Return median milliseconds of runs of the first feed, one of each model in turn."""
    feed = {name: array[:1] for name, array in next(iter(data.take(1))).items()}
    loaded = [session(p, threads) for p in paths]
    times: list[list[float]] = [[] for _ in paths]
    stop, number = time.perf_counter() + seconds * len(paths), 0
    while number < 8 or time.perf_counter() < stop:
        for index, one in enumerate(loaded):
            one.run(None, feed)  # brings its weights back into the caches
            start = time.perf_counter()
            one.run(None, feed)
            if number >= 3:
                times[index].append((time.perf_counter() - start) * 1e3)
        number += 1
    return [float(np.median(t)) for t in times]
