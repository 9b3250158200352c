"""Runs models on a device: one file that needs only Python, numpy and ONNX Runtime there.

It is never imported: it is copied to the device and started as

    python runner.py JOB RESULT

in the folder that holds the files of the job. `JOB` and `RESULT` are JSON. A job is

    {"format": 1,
     "models": [{"name": "candidate", "file": "candidate.onnx", "level": "all"}],
     "feeds": [{"file": "feeds/0.npz", "names": ["image"]}],
     "options": {"threads": 1, "config": {}}}

where the arrays of an archive are called `0`, `1`, ... in the order of `names`, because names of
tensors are not fit for names of files. The result is

    {"format": 1,
     "facts": {"machine": "aarch64", "onnxruntime": "...", ...},
     "models": [{"name": "candidate", "error": "", "wrong_data": false, "skipped": [],
                 "outputs": [{"file": "outputs/candidate-0.npz", "names": ["logits"]}],
                 "load_seconds": 0.1, "seconds": [0.01]}]}

A model that cannot be loaded or run says so in `error` and keeps the others going. Outputs that
are no tensors are named in `skipped`. While it works it prints lines `step DONE TOTAL`.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

FORMAT = 1
_LEVELS = {"all": "ORT_ENABLE_ALL", "basic": "ORT_ENABLE_BASIC", "disabled": "ORT_DISABLE_ALL"}


class Steps:
    """Tells whoever started the runner how far it is."""

    def __init__(self, total: int) -> None:
        """Count up to `total`."""
        self._done, self._total = 0, total

    def next(self) -> None:
        """One more is done."""
        self._done += 1
        sys.stdout.write(f"step {self._done} {self._total}\n")
        sys.stdout.flush()


def main(job_file: str, result_file: str) -> int:
    """Do a job and write its result."""
    ort.set_default_logger_severity(4)
    job = json.loads(Path(job_file).read_text(encoding="utf-8"))
    if job.get("format") != FORMAT:
        sys.stderr.write(f"the job has format {job.get('format')}; this runner knows {FORMAT}\n")
        return 2
    Path("outputs").mkdir(exist_ok=True)
    steps = Steps(len(job["models"]) * len(job["feeds"]))
    result = {
        "format": FORMAT,
        "facts": facts(job["options"]),
        "models": [run_model(m, job["feeds"], job["options"], steps) for m in job["models"]],
    }
    Path(result_file).write_text(json.dumps(result, indent=1), encoding="utf-8")
    return 0


def facts(options: dict[str, Any]) -> dict[str, Any]:
    """Say what this machine is."""
    return {
        "machine": platform.machine(),
        "system": platform.system(),
        "features": cpu_features(),
        "cores": core_count(),
        "threads": options["threads"] or core_count(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "onnxruntime": ort.__version__,
    }


def cpu_features() -> list[str]:
    """Return the instruction-set features that Linux lists for the first core."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    for line in text.splitlines():
        key, _, words = line.partition(":")
        if key.strip() in ("Features", "flags"):
            return words.split()
    return []


def core_count() -> int:
    """Return the number of cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def session_options(level: str, options: dict[str, Any]) -> ort.SessionOptions:
    """Set a session up as the host sets up its own."""
    made = ort.SessionOptions()
    made.intra_op_num_threads = options["threads"] or core_count()
    made.inter_op_num_threads = 1
    made.graph_optimization_level = getattr(ort.GraphOptimizationLevel, _LEVELS[level])
    made.use_deterministic_compute = True
    made.log_severity_level = 4
    for key, text in options.get("config", {}).items():
        made.add_session_config_entry(key, text)
    return made


def run_model(
    model: dict[str, Any], feeds: list[dict[str, Any]], options: dict[str, Any], steps: Steps
) -> dict[str, Any]:
    """Load a model, run every feed, store the outputs, and say how that went."""
    made: dict[str, Any] = {"name": model["name"], "error": "", "wrong_data": False}
    made.update(outputs=[], skipped=[], load_seconds=0.0, seconds=[])
    try:
        start = time.perf_counter()
        session = ort.InferenceSession(
            model["file"],
            session_options(model["level"], options),
            providers=["CPUExecutionProvider"],
        )
        made["load_seconds"] = time.perf_counter() - start
        for number, feed in enumerate(feeds):
            start = time.perf_counter()
            found = run_feed(session, read_arrays(feed))
            made["seconds"].append(time.perf_counter() - start)
            path = f"outputs/{model['name']}-{number}.npz"
            made["outputs"].append(store(path, found, made["skipped"]))
            steps.next()
    except Exception as error:
        made["error"] = str(error) or type(error).__name__
        refused = "INVALID_ARGUMENT" in made["error"]
        made["wrong_data"] = refused and "while running" not in made["error"]
    return made


def run_feed(session: ort.InferenceSession, arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """Run once on those arrays that are inputs; what comes out, by name."""
    known = {i.name for i in (*session.get_inputs(), *session.get_overridable_initializers())}
    names = [o.name for o in session.get_outputs()]
    return dict(zip(names, session.run(names, {n: a for n, a in arrays.items() if n in known})))  # noqa: B905  (devices may have Python 3.9)


def read_arrays(feed: dict[str, Any]) -> dict[str, np.ndarray]:
    """Read an archive back under the names of its tensors."""
    with np.load(feed["file"], allow_pickle=False) as archive:
        return {name: archive[str(i)] for i, name in enumerate(feed["names"])}


def store(path: str, outputs: dict[str, Any], skipped: list[str]) -> dict[str, Any]:
    """Write the tensors of one run to an archive; add the names of other outputs to `skipped`."""
    arrays = {}
    for name, value in outputs.items():
        if isinstance(value, (np.ndarray, np.generic)):
            arrays[name] = plain(np.asarray(value))
        elif name not in skipped:
            skipped.append(name)
    numbered: dict[str, Any] = {str(i): a for i, a in enumerate(arrays.values())}
    np.savez(path, **numbered)
    return {"file": path, "names": list(arrays)}


def plain(array: np.ndarray) -> np.ndarray:
    """Return an array of any shape in a type of the file format: no text, no small floats."""
    if array.dtype.kind == "O":
        return array.astype(np.str_)
    return array.astype(np.float32) if array.dtype.kind == "V" else array


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2]))
