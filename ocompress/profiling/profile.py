"""Profiling from end to end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ocompress.io.dataset import Dataset
from ocompress.ir import Model
from ocompress.profiling.result import ProfileResult


def profile(
    model: Model,
    *,
    against: Model | None = None,
    data: Dataset | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
    threads: int = 1,
    warmup: int = 5,
    runs: int | None = None,
    seconds: float = 2.5,
    per_node: bool = False,
    memory: bool = True,
    path: Path | None = None,
    against_path: Path | None = None,
    seed: int = 0,
) -> ProfileResult:
    """Measure a model, and a reference beside it.

    Args:
        model: The model.
        against: A reference, run interleaved with the model so that both see the same machine.
        data: Its first feed is what both are run with; random numbers otherwise.
        shapes: Shapes of inputs by name, for random numbers.
        threads: Threads within an operator; 0 takes all cores.
        warmup: Runs of each model that are not counted.
        runs: Timed runs of each model; as many as fit in `seconds` when None.
        seconds: Time to spend on each model.
        per_node: Whether to measure operators and layers with ONNX Runtime's profiler.
        memory: Whether to measure memory in fresh processes.
        path: The model's file, for its size on disk and its memory; written to a temporary file
            for the latter when None.
        against_path: The reference's file.
        seed: Seeds random inputs, the order of runs and the interval.

    Raises:
        DataError: If the inputs cannot be made up or do not fit.
        RuntimeFailureError: If a model cannot be loaded or run.
    """
    raise NotImplementedError


def parse_shape(text: str) -> tuple[str, tuple[int, ...]]:
    """Parse `name:1,3,224,224`, the form `--shape` takes.

    Raises:
        OptionError: If it has another form.
    """
    raise NotImplementedError
