"""Data and settings that are damaged beside a good model."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from onnx import numpy_helper

from ocompress.ir import to_proto
from tests.fuzz.mutate import Rng, damaged_bytes, damaged_text, pick
from tests.fuzz.program import Outcome, call
from tests.graphs import ZOO

GATE = """min_sqnr_db = 20
min_cosine = 0.9
max_abs_error = 0.1
min_agreement = 0.9
max_drop = 0.01
max_size_ratio = 1.2
max_bytes = "4 MB"
allowed_domains = ["com.microsoft"]
min_opset = 11
[outputs.y]
max_relative_error = 0.1
"""
RECIPE = """description = "Zeros, then integers."

[[pass]]
name = "canonicalize"
opset = 17
strip = ["docs"]

[[pass]]
name = "prune"
sparsity = 0.5
pattern = "unstructured"
criterion = "l2"
layers = {"*" = 0.25}
exclude = ["y"]
refit = false
smallest = 16

[[pass]]
name = "quant-weights"
form = "int4"
block = 32
symmetric = true
keep_slower = true
"""
PASSES = (
    "canonicalize{opset=17 strip=[docs]},\n"
    'prune{sparsity=0.5 layers={"*"=0.25} exclude=["y"]\n'
    "smallest=16},\n"
    "quant-weights{form=int4\nblock=32\nkeep_slower=true}\n"
)
"""What ends a line here is a blank as any other, so that lines can be damaged."""
TABLE = """size = [12, 12]
crop = 0.875
scale = 0.00392156862745098
mean = [0.5, 0.5, 0.5]
std = [0.2, 0.2, 0.2]
color = "RGB"
layout = "NCHW"
interpolation = "bicubic"
"""
_IMAGES = "conv_bn_relu"
_MODELS = (_IMAGES, "mlp")
_QUIET = ("-q", "--no-profile", "--timeout", "5")


def case(rng: Rng, folder: Path) -> Outcome:
    """Write a model with data and settings, one of them damaged, and use them."""
    kind = pick(rng, sorted(_WRITERS))
    model, shape = _model(rng, folder, images=kind == "table")
    line = _WRITERS[kind](rng, folder, model, shape)
    ended = call(*line)
    return Outcome(ended.fault, ended.code == 0)


def _model(rng: Rng, folder: Path, *, images: bool) -> tuple[Path, list[int]]:
    built = ZOO[_IMAGES if images else pick(rng, _MODELS)]()
    path = folder / "in.onnx"
    path.write_bytes(to_proto(built).SerializeToString())
    declared = built.graph.inputs[0].shape or ()
    return path, [d if isinstance(d, int) else 3 for d in declared[1:]]


def _array(rng: Rng, shape: list[int]) -> Any:
    """Draw data that fit, or do not in one of many ways."""
    good = rng.standard_normal((6, *shape)).astype(np.float32)
    match int(rng.integers(14)):
        case 0:
            return good.astype(pick(rng, (np.float64, np.int64, np.uint8, np.complex64, "U3")))
        case 1:
            return good[pick(rng, (slice(0, 0), 0, (slice(None), 0)))]
        case 2:
            return np.full_like(good, pick(rng, (np.nan, np.inf, 3e38, 0)))
        case 3:
            return good[..., None] if rng.random() < 0.5 else good[..., :-1]
        case 4:
            return np.array([None, "x", 3], object)
        case 5:
            return np.zeros((6, *shape), [("a", np.float32), ("b", np.int8)])
        case 6:
            return np.array("2020-01-01", "datetime64[D]")
        case 7:
            return np.asfortranarray(good)
        case 8:
            return good.astype(">f4")
    return good


def _npz(arrays: dict[str, Any]) -> bytes:
    """Write an archive member by member: `savez` takes some names for its own options."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w") as member:
                np.save(member, array)
    return stream.getvalue()


def _maybe(content: bytes, rng: Rng) -> bytes:
    return damaged_bytes(content, rng) if rng.random() < 0.6 else content


def _use(rng: Rng, folder: Path, model: Path, *how: str) -> tuple[str, ...]:
    """Return a call that uses data."""
    result = str(folder / "out.onnx")
    lines = (
        ("validate", str(model), str(model), *how, "--timeout", "5"),
        ("profile", str(model), *(how[:2]), "--seconds", "0.02", "--timeout", "5"),
        ("optimize", str(model), result, "-p", "canonicalize", *how, *_QUIET),
        ("optimize", str(model), result, "-p", "prune{sparsity=0.5}", *how, *_QUIET),
        ("optimize", str(model), result, "-p", "quant", "--max-drop", "0.5", *how, *_QUIET),
    )
    chosen: tuple[str, ...] = pick(rng, lines)
    return chosen


def _write_npz(rng: Rng, folder: Path, model: Path, shape: list[int]) -> tuple[str, ...]:
    name = pick(rng, ("x", "x", "x", "y", "", "file", "a/b", "labels"))
    arrays = {name: _array(rng, shape)}
    if rng.random() < 0.4:
        arrays["labels"] = pick(rng, (np.arange(6), np.zeros(3), np.array(["a"] * 6), np.eye(6)))
    (folder / "d.npz").write_bytes(_maybe(_npz(arrays), rng))
    return _use(rng, folder, model, "--data", str(folder / "d.npz"))


def _write_npy(rng: Rng, folder: Path, model: Path, shape: list[int]) -> tuple[str, ...]:
    stream = io.BytesIO()
    np.save(stream, _array(rng, shape))
    (folder / "d.npy").write_bytes(_maybe(stream.getvalue(), rng))
    return _use(rng, folder, model, "--data", str(folder / "d.npy"))


def _write_labels(rng: Rng, folder: Path, model: Path, shape: list[int]) -> tuple[str, ...]:
    good = np.zeros((6, *shape), np.float32)
    (folder / "d.npz").write_bytes(_npz({"x": good}))
    form = pick(rng, ("txt", "csv", "npy", "npz"))
    labels = folder / f"l.{form}"
    if form in ("txt", "csv"):
        text = pick(
            rng, ("0\n1\n2\n0\n1\n2\n", "name,label\n" + "a,1\n" * 6, "a\n" * 6, "1;2\n" * 6)
        )
        labels.write_bytes(damaged_text(text, rng))
    else:
        stream = io.BytesIO()
        drawn = pick(rng, (np.arange(6), np.full(6, np.nan), np.eye(6), np.array(["a"] * 6)))
        np.save(stream, drawn) if form == "npy" else np.savez(stream, labels=drawn)
        labels.write_bytes(_maybe(stream.getvalue(), rng))
    how = ("--data", str(folder / "d.npz"), "--labels", str(labels))
    return _use(rng, folder, model, *how)


def _write_gate(rng: Rng, folder: Path, model: Path, shape: list[int]) -> tuple[str, ...]:
    (folder / "g.toml").write_bytes(damaged_text(GATE, rng))
    (folder / "d.npz").write_bytes(_npz({"x": rng.standard_normal((6, *shape)).astype(np.float32)}))
    data = ("--data", str(folder / "d.npz")) if rng.random() < 0.7 else ()
    return ("validate", str(model), str(model), "--gate", str(folder / "g.toml"), *data)


def _write_recipe(rng: Rng, folder: Path, model: Path, _: list[int]) -> tuple[str, ...]:
    (folder / "r.toml").write_bytes(damaged_text(RECIPE, rng))
    recipe = ("--recipe", str(folder / "r.toml"))
    return ("optimize", str(model), str(folder / "out.onnx"), *recipe, *_QUIET)


def _write_passes(rng: Rng, folder: Path, model: Path, _: list[int]) -> tuple[str, ...]:
    text = damaged_text(PASSES, rng).decode(errors="replace")
    return ("optimize", str(model), str(folder / "out.onnx"), "-p", text, *_QUIET)


def _write_table(rng: Rng, folder: Path, model: Path, _: list[int]) -> tuple[str, ...]:
    from PIL import Image

    images = folder / "images"
    images.mkdir()
    for number in range(3):
        pixels = rng.integers(0, 256, (9, 9, 3), np.uint8)
        Image.fromarray(pixels).save(images / f"{number}.png")
    (images / "2.png").write_bytes(_maybe((images / "2.png").read_bytes(), rng))
    (images / "preprocess.toml").write_bytes(damaged_text(TABLE, rng))
    return _use(rng, folder, model, "--data", str(images))


def _write_dataset(rng: Rng, folder: Path, model: Path, shape: list[int]) -> tuple[str, ...]:
    for number in range(2):
        one = folder / "sets" / f"test_data_set_{number}"
        one.mkdir(parents=True)
        tensor = numpy_helper.from_array(rng.standard_normal((1, *shape)).astype(np.float32), "x")
        (one / "input_0.pb").write_bytes(_maybe(tensor.SerializeToString(), rng))
    return _use(rng, folder, model, "--data", str(folder / "sets"))


_WRITERS = {
    "npz": _write_npz,
    "npy": _write_npy,
    "labels": _write_labels,
    "gate": _write_gate,
    "recipe": _write_recipe,
    "passes": _write_passes,
    "table": _write_table,
    "dataset": _write_dataset,
}
