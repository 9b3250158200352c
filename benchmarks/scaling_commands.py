"""Processor seconds of commands on growing nets.

Run: python benchmarks/scaling_commands.py [COMMAND ...] [--layers 100,200,400]

For each command: seconds for each number of layers, and the exponent b of seconds ~ layers^b
between the two largest. The exact passes make the second model of `validate`.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import tempfile
import time
from pathlib import Path

import numpy as np
from scaling_nets import dense
from scaling_passes import LAYERS, exponent_of

from ocompress.cli.app import run
from ocompress.io import save_model

COMMANDS: dict[str, tuple[str, ...]] = {
    "inspect": ("inspect", "net.onnx"),
    "inspect with data": ("inspect", "net.onnx", "--data", "rows.npz"),
    "optimize": ("optimize", "net.onnx", "out.onnx", "--passes", "canonicalize", "--no-profile"),
    "optimize with data": (
        *("optimize", "net.onnx", "out.onnx", "--passes", "canonicalize"),
        *("--data", "rows.npz", "--no-profile", "--report", "report.html"),
    ),
    "validate": ("validate", "net.onnx", "out.onnx", "--data", "rows.npz"),
    "profile": ("profile", "net.onnx", "--per-node", "--seconds", "0.1"),
    "pack": ("pack", "net.onnx", "net.ocz"),
    "unpack": ("unpack", "net.ocz", "again.onnx"),
}


def seconds(arguments: tuple[str, ...], folder: Path) -> float:
    """Return processor seconds of a command in a folder."""
    start = time.process_time()
    said = io.StringIO()
    with (
        contextlib.chdir(folder),
        contextlib.redirect_stdout(said),
        contextlib.redirect_stderr(said),
    ):
        code = run(arguments)
    if code:
        raise SystemExit(f"{' '.join(arguments)}: exit code {code}\n{said.getvalue()}")
    return time.process_time() - start


def main() -> None:
    """Print a row for each command."""
    parser = argparse.ArgumentParser()
    parser.add_argument("commands", nargs="*")
    parser.add_argument("--layers", default=",".join(map(str, LAYERS)))
    given = parser.parse_args()
    sizes = [int(word) for word in given.layers.split(",")]
    rows = np.random.default_rng(0).standard_normal((64, 8)).astype(np.float32)
    print(f"{'command':20}" + "".join(f"{size:>8}" for size in sizes) + "  exponent")
    with tempfile.TemporaryDirectory() as top:
        for size in sizes:
            folder = Path(top, str(size))
            folder.mkdir()
            save_model(dense(size), folder / "net.onnx")
            np.savez(folder / "rows.npz", x=rows)
        for name in given.commands or COMMANDS:
            times = [seconds(COMMANDS[name], Path(top, str(size))) for size in sizes]
            cells = "".join(f"{t:8.2f}" for t in times)
            print(f"{name:20}{cells}{exponent_of(times, sizes):10.2f}", flush=True)


if __name__ == "__main__":
    main()
