"""Peak memory: a model larger than protobuf allows, and calibration with more and more samples.

Run as `python benchmarks/memory.py [--gib 3] [--folder DIR] [--only archives] [--step 0.325]`. Each
row is one run of the command line, or of the decoder in C, in a process of its own; the peak is
what the kernel counted for it (maximum resident set). With a step, weights are rounded to multiples
of so many of their deviations, so that archives hold integers.
"""

from __future__ import annotations

import argparse
import filecmp
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

ROOT = Path(__file__).parents[1]
WIDTH = 8192
GIB = 1 << 30


def large_model(folder: Path, gib: float, step: float) -> None:
    """Write a chain of MatMul and Relu with `gib` GiB of external weights, a layer at a time."""
    layers = max(1, round(gib * GIB / (WIDTH * WIDTH * 4)))
    rng = np.random.default_rng(0)
    nodes, weights, offset = [], [], 0
    with (folder / "large.onnx.data").open("wb") as data:
        for index in range(layers):
            block = rng.standard_normal((WIDTH, WIDTH), np.float32) / np.float32(WIDTH**0.5)
            if step:
                scale = np.float32(step / WIDTH**0.5)
                block = np.rint(block / scale) * scale + np.float32(0)  # no negative zeros
            data.write(block.tobytes())
            tensor = TensorProto(name=f"w{index}", data_type=1, dims=block.shape)
            tensor.data_location = TensorProto.EXTERNAL
            for key, text in (
                ("location", "large.onnx.data"),
                ("offset", offset),
                ("length", block.nbytes),
            ):
                tensor.external_data.add(key=key, value=str(text))
            offset += block.nbytes
            weights.append(tensor)
            source = "x" if index == 0 else f"r{index - 1}"
            nodes.append(helper.make_node("MatMul", [source, f"w{index}"], [f"m{index}"]))
            nodes.append(helper.make_node("Relu", [f"m{index}"], [f"r{index}"]))
    shape = ["n", WIDTH]
    graph = helper.make_graph(
        nodes,
        "large",
        [helper.make_tensor_value_info("x", 1, shape)],
        [helper.make_tensor_value_info(f"r{layers - 1}", 1, shape)],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, folder / "large.onnx")
    np.savez(folder / "large.npz", x=rng.standard_normal((4, WIDTH), np.float32))


def run(*arguments: str, program: Path | None = None) -> tuple[float, float]:
    """Run the command line, or a program; return seconds and peak GiB.

    Raises:
        SystemExit: If the command fails.
    """
    start = time.perf_counter()
    command = [str(program)] if program else [sys.executable, "-m", "ocompress"]
    process = subprocess.Popen([*command, *arguments], cwd=ROOT)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{' '.join(command)} {' '.join(arguments)} failed")
    scale = 1 if sys.platform == "darwin" else 1024
    return time.perf_counter() - start, usage.ru_maxrss * scale / GIB


def passes(folder: Path, size: float) -> None:
    """Print what passes take on the large model."""
    print(f"{'passes':24}{'model GiB':>10}{'peak GiB':>10}{'ratio':>8}{'seconds':>9}")
    for name in ("canonicalize", "prune"):
        seconds, peak = run(
            *("optimize", str(folder / "large.onnx"), str(folder / "out.onnx"), "--passes", name),
            *("--data", str(folder / "large.npz"), "--quiet"),
        )
        print(f"{name:24}{size:10.2f}{peak:10.2f}{peak / size:8.2f}{seconds:9.1f}")


def archives(folder: Path, size: float) -> None:
    """Print what packing the large model and unpacking it again take."""
    print(f"\n{'archive':24}{'model GiB':>10}{'peak MiB':>10}{'seconds':>9}")
    coded, back = folder / "large.ocz", folder / "back" / "large.onnx"
    back.parent.mkdir()
    unocz = folder / "unocz"
    sources = [str(ROOT / "decoder" / name) for name in ("ocz.c", "unocz.c")]
    subprocess.run(["gcc", "-O3", *sources, "-o", str(unocz)], check=True)
    for command, *files in (("pack", folder / "large.onnx", coded), ("unpack", coded, back)):
        seconds, peak = run(command, *map(str, files))
        print(f"{command:24}{size:10.2f}{peak * 1024:10.0f}{seconds:9.1f}")
    seconds, peak = run(str(coded), str(back), program=unocz)
    print(f"{'unocz':24}{size:10.2f}{peak * 1024:10.0f}{seconds:9.1f}")
    print(f"{'its archive':24}{coded.stat().st_size / GIB:10.2f}")
    for name in ("large.onnx", "large.onnx.data"):
        if not filecmp.cmp(folder / name, back.parent / name, shallow=False):
            sys.exit(f"{name} came back changed")


def calibration() -> None:
    """Print what calibrating on more and more samples takes."""
    print(f"\n{'calibration samples':24}{'peak GiB':>10}{'seconds':>9}")
    for samples in (64, 256, 1024):
        with tempfile.TemporaryDirectory() as name:
            seconds, peak = run(
                *("optimize", "models/resnet8.onnx", str(Path(name) / "out.onnx")),
                *("--passes", "quant", "--data", "models/data/fashion_calib.npz"),
                *("--samples", str(samples), "--quiet"),
            )
        print(f"{samples:<24}{peak:10.3f}{seconds:9.1f}")


def main() -> None:
    """Measure and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gib", type=float, default=3.0, help="size of the large model's weights")
    parser.add_argument("--step", type=float, default=0.0, help="round weights to such steps")
    parser.add_argument("--folder", type=Path, help="where to put the large files")
    tables = ("passes", "archives", "calibration")
    parser.add_argument("--only", choices=tables, nargs="+", default=tables, help="which tables")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        if set(options.only) & {"passes", "archives"}:
            # A process of its own: children would inherit this one's peak.
            maker = multiprocessing.get_context("spawn").Process(
                target=large_model, args=(folder, options.gib, options.step)
            )
            maker.start()
            maker.join()
            size = (folder / "large.onnx.data").stat().st_size / GIB
        if "passes" in options.only:
            passes(folder, size)
        if "archives" in options.only:
            archives(folder, size)
    if "calibration" in options.only:
        calibration()


if __name__ == "__main__":
    main()
