"""Measures the memory of loading and running a file; run in a fresh process.

`python -m ocompress.profiling.probe MODEL.onnx FEEDS.npz NAMES THREADS` prints one line of JSON
with the bytes of the bare runtime, of the loaded model, and at the peak. NAMES is a JSON list: the
input that each array of the feeds is for.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import numpy as np

from ocompress.runtime import Session


def main(model: str, feeds: str, names: str, threads: str) -> int:
    """Load and run the model once; print the figures."""
    with np.load(feeds, allow_pickle=False) as archive:
        given = {name: archive[f"arr_{i}"] for i, name in enumerate(json.loads(names))}
    baseline = _peak()
    session = Session(Path(model), threads=int(threads), as_deployed=True)
    loaded = _now()
    session.run(given)
    figures = {"baseline": baseline, "loaded": loaded, "peak": _peak()}
    sys.stdout.write(json.dumps(figures) + "\n")
    return 0


def _status(key: str) -> int:
    """Return a field of `/proc/self/status` in bytes, 0 where there is none."""
    try:
        text = Path("/proc/self/status").read_text(encoding="utf-8")
    except OSError:
        return 0
    line = re.search(rf"^{key}:\s*(\d+) kB", text, re.MULTILINE)
    return int(line[1]) * 1024 if line else 0


def _peak() -> int:
    """Return the highest resident memory so far.

    Linux carries `ru_maxrss` over from the process that started this one, so its own record of
    the peak comes first.
    """
    own = _status("VmHWM")
    if own:
        return own
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _now() -> int:
    return _status("VmRSS") or _peak()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
