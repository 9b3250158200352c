"""Memory of a model, measured in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np

from ocompress.errors import OcompressError
from ocompress.io import is_archive, save_model
from ocompress.io.dataset import Feeds
from ocompress.ir import Model
from ocompress.ir.strings import is_clean
from ocompress.profiling.result import Memory
from ocompress.stopping import limit, temporary_folder

_PROBE = "ocompress.profiling.probe"
_PATIENCE_SECONDS = 600


def measure(model: Model, feeds: Feeds, threads: int, path: Path | None) -> Memory | str:
    """Measure loading a file and running it once.

    Args:
        model: The model.
        feeds: One call of it.
        threads: Threads within an operator; 0 takes all cores.
        path: The model's file; a temporary one is written when it is None or an archive.

    Returns:
        The figures, or one sentence why there are none.
    """
    wanted = {v.name for v in model.graph.inputs}
    given = {n: np.asarray(a) for n, a in feeds.items() if n in wanted}
    if any(a.dtype.kind in "OV" for a in given.values()):
        return "memory was not measured: inputs of these element types cannot be handed over"
    if not all(map(is_clean, given)):
        return "memory was not measured: names of inputs that are no UTF-8 cannot be handed over"
    try:
        with temporary_folder() as folder:
            file = path
            if file is None or is_archive(file):
                file = folder / "model.onnx"
                save_model(model, file)
            np.savez(folder / "feeds.npz", *given.values())  # names may be those of options
            return _probe(file, folder / "feeds.npz", list(given), threads)
    except (OSError, OcompressError) as error:
        return f"memory was not measured: {error}"


def _probe(model: Path, feeds: Path, names: list[str], threads: int) -> Memory | str:
    arguments = (str(model.absolute()), str(feeds), json.dumps(names), str(threads))
    command = [sys.executable, "-m", _PROBE, *arguments]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=limit() or _PATIENCE_SECONDS,
            check=False,
        )
        figures = json.loads(done.stdout)
    except (subprocess.TimeoutExpired, ValueError):
        return "memory was not measured: the process that runs the model did not finish"
    baseline = figures["baseline"]
    return Memory(
        peak=max(figures["peak"] - baseline, 0),
        loaded=max(figures["loaded"] - baseline, 0),
        baseline=baseline,
    )
