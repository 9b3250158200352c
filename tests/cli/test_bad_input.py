"""Everything a user can get wrong: one sentence, the documented exit code, nothing half-written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto as T

from ocompress.io import load_model, save_model
from ocompress.ir import to_proto
from tests.build import Builder
from tests.cli.conftest import Call
from tests.graphs import ZOO

OVER_BUDGET, USAGE, MODEL, FAILURE = 1, 2, 3, 4


def content(folder: Path) -> dict[str, bytes | None]:
    return {
        str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None
        for p in sorted(folder.rglob("*"))
    }


def model(write: Callable[[Path], object]) -> Callable[[Path], None]:
    """Replace the input model."""

    def prepare(folder: Path) -> None:
        write(folder / "in.onnx")

    return prepare


def data(**arrays: Any) -> Callable[[Path], None]:
    """Replace the data."""
    return lambda folder: np.savez(folder / "d.npz", **arrays)


def custom(path: Path) -> None:
    b = Builder()
    b.op("Magic", b.input("x", ["n", 16]), to="y", domain="example.org")
    b.output("y", ["n", 16])
    path.write_bytes(b.proto(example_org=1).SerializeToString())


def external(**entries: str) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        save_model(ZOO["mlp"](), folder / "in.onnx", external=True)
        proto = onnx.load(folder / "in.onnx", load_external_data=False)
        for tensor in proto.graph.initializer:
            for entry in tensor.external_data:
                entry.value = entries.get(entry.key, entry.value)
        (folder / "in.onnx").write_bytes(proto.SerializeToString())
        if not entries:
            (folder / "in.onnx.data").unlink()

    return write


def newer(**fields: int) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        proto = to_proto(ZOO["mlp"]())
        proto.ir_version = fields.get("ir", proto.ir_version)
        proto.opset_import[0].version = fields.get("opset", proto.opset_import[0].version)
        (folder / "in.onnx").write_bytes(proto.SerializeToString())

    return write


def unrunnable(path: Path) -> None:
    """Write a model that the ONNX checker refuses: Conv without a weight."""
    b = Builder()
    b.op("Conv", b.input("x", ["n", 16]), to="y")
    b.output("y")
    path.write_bytes(b.proto().SerializeToString())


def nothing(_: Path) -> None:
    pass


def with_nan() -> np.ndarray:
    x = np.zeros((40, 16), np.float32)
    x[7, 3] = np.nan
    return x


X = np.zeros((40, 16), np.float32)
LONG = "a" * 300

CASES: list[tuple[str, Callable[[Path], Any], str, int, str]] = [
    # what, preparation, changed arguments, exit code, what the sentence names
    ("missing model", nothing, "none.onnx out.onnx", USAGE, "'none.onnx' does not exist; name"),
    ("model is a folder", lambda f: (f / "sub").mkdir(), "sub out.onnx", USAGE, "'sub' is a dir"),
    ("text", model(lambda p: p.write_text("hello world, hello")), "", MODEL, "'in.onnx' is not an"),
    ("empty", model(lambda p: p.write_bytes(b"")), "", MODEL, "'in.onnx' is not an ONNX model"),
    ("truncated", model(lambda p: p.write_bytes(p.read_bytes()[:999])), "", MODEL, "truncated"),
    ("no graph", model(lambda p: p.write_bytes(b"\x08\x07")), "", MODEL, "holds no graph"),
    ("newer IR", newer(ir=99), "", MODEL, "IR version 99"),
    ("newer opset", newer(opset=99), "", MODEL, "opset 99"),
    ("unknown domain", model(custom), "--passes prune", MODEL, "'Magic' of domain 'example.org'"),
    ("invalid node", model(unrunnable), "--passes prune", MODEL, "Conv"),
    ("missing external data", external(), "", MODEL, "'in.onnx.data'"),
    ("external data outside", external(location="../x"), "", MODEL, "outside the model's folder"),
    ("absolute external data", external(location="/etc/passwd"), "", MODEL, "'/etc/passwd'"),
    ("short external data", external(offset="99999999"), "", MODEL, "too short"),
    ("NUL in external data", external(location="a\0b"), "", MODEL, "not a file name"),
    ("long external data", external(location="a" * 5000), "", MODEL, "not a file name"),
    ("odd external offset", external(offset="1e3"), "", MODEL, "odd offset"),
    ("missing data", nothing, "--data none.npz", USAGE, "'none.npz' do not exist; name"),
    ("data is text", lambda f: (f / "d.npz").write_text("x"), "", USAGE, "'d.npz'"),
    ("wrong name", data(image=X), "", USAGE, "lack input 'x'"),
    ("wrong shape", data(x=X[:, :9]), "", USAGE, "extent 9 on axis 1"),
    ("wrong rank", data(x=X[0]), "", USAGE, "shape [16]"),
    ("wrong type", data(x=X.astype(np.uint8)), "", USAGE, "'x' is uint8"),
    ("NaN", data(x=with_nan()), "--no-profile", USAGE, "'x' holds NaN or infinity in sample 7"),
    ("no samples", data(x=X[:0]), "", USAGE, "are empty"),
    ("label count", data(x=X, labels=np.zeros(3)), "", USAGE, "40 samples but 3 labels"),
    ("pickles", data(x=np.array([None], object)), "", USAGE, "pickled objects"),
    ("no data for quant", nothing, "--no-data", USAGE, "'quant' needs calibration data"),
    ("unknown pass", nothing, "--passes prun", USAGE, "did you mean 'prune'"),
    ("unknown pass option", nothing, "--passes prune{sparsit=0.5}", USAGE, "no option 'sparsit'"),
    ("bad pass option", nothing, "--passes prune{sparsity=7}", USAGE, "sparsity=7"),
    ("bad syntax", nothing, "--passes prune{", USAGE, "'prune{'"),
    ("no passes", nothing, "--passes=", USAGE, "no passes given"),
    ("no passes for an archive", nothing, "in.onnx out.ocz --passes=", USAGE, "ocompress pack"),
    ("unknown target", nothing, "--target arm65", USAGE, "did you mean 'arm64'"),
    ("unknown option", nothing, "--passez prune", USAGE, "--passez"),
    ("unknown recipe", nothing, "--passes= --recipe none", USAGE, "recipe 'none'"),
    ("passes and recipe", nothing, "--recipe r.toml", USAGE, "are mutually exclusive"),
    ("data and synthetic", nothing, "--synthetic-data 8", USAGE, "are mutually exclusive"),
    ("labels without data", nothing, "--no-data --labels l.npy", USAGE, "labels need data"),
    ("drop without data", nothing, "--no-data --passes prune --max-drop 0.1", USAGE, "needs data"),
    ("accuracy without labels", data(x=X), "--metric accuracy", USAGE, "needs labels"),
    ("unknown metric", nothing, "--metric f1", USAGE, "metric 'f1'"),
    ("missing metric", nothing, "--metric nowhere:f", USAGE, "nowhere"),
    ("negative drop", nothing, "--max-drop -1", USAGE, "must not be negative"),
    ("no drop", nothing, "--max-drop nan", USAGE, "'nan' is not a number"),
    ("endless drop", nothing, "--max-drop inf", USAGE, "'inf' is not a number"),
    ("passes apart", nothing, "--passes quant prune", USAGE, "commas and no spaces between"),
    ("slower and limit", nothing, "--max-latency 1 --allow-slower", USAGE, "contradicts"),
    ("larger and limit", nothing, "--max-size 1MB --allow-larger", USAGE, "contradicts"),
    ("no unit", nothing, "--max-size 500000", USAGE, "has no unit"),
    ("other unit", nothing, "--max-latency 5MB", USAGE, "such as 5ms"),
    ("limit elsewhere", nothing, "--max-latency-ratio 1 -t arm64", USAGE, "contradicts"),
    ("no samples wanted", nothing, "--samples 0", USAGE, "samples 0"),
    ("text for a number", nothing, "--samples many", USAGE, "--samples"),
    ("output is input", nothing, "in.onnx in.onnx", USAGE, "same file as 'in.onnx'"),
    ("output is a folder", lambda f: (f / "sub").mkdir(), "in.onnx sub", USAGE, "'sub' is a dir"),
    (
        "output folder missing",
        nothing,
        "in.onnx no/out.onnx",
        USAGE,
        "'no/out.onnx' does not exist",
    ),
    ("output is a device", nothing, "in.onnx /dev/null", USAGE, "not a regular file"),
    ("long model name", nothing, f"{LONG}.onnx out.onnx", USAGE, "does not exist"),
    ("long output name", nothing, f"in.onnx {LONG}", USAGE, "choose a shorter one"),
    ("long data name", nothing, f"--data {LONG}", USAGE, "do not exist"),
    ("long recipe name", nothing, f"--passes= --recipe {LONG}", USAGE, "is not a file"),
    ("long report name", nothing, f"--report {LONG}", USAGE, "choose a shorter one"),
    ("output missing", nothing, "in.onnx", USAGE, "the output is missing"),
    ("output twice", nothing, "in.onnx out.onnx -o b.onnx", USAGE, "the output is given twice"),
    ("report is the output", nothing, "--report out.onnx", USAGE, "same file"),
    ("report folder missing", nothing, "--report no/r.json", USAGE, "'no/r.json'"),
    ("report is the depfile", nothing, "--report r --depfile r", USAGE, "same file as 'r'"),
    ("report is the data", nothing, "--report d.npz", USAGE, "same file as 'd.npz'"),
    ("depfile is the data", nothing, "--depfile ./d.npz", USAGE, "same file as 'd.npz'"),
    ("report is the weights", nothing, "--report out.onnx.data", USAGE, "same file as 'out.onnx"),
    ("output is the data", nothing, "in.onnx d.npz", USAGE, "same file as 'd.npz'"),
    ("dump is a file", nothing, "--dump in.onnx", FAILURE, "cannot write 'in.onnx'"),
    ("too many threads", nothing, "--threads 999999", USAGE, "--threads"),
    ("quiet and verbose", nothing, "-q -v", USAGE, "--quiet and --verbose are mutually exclusive"),
    ("table without images", nothing, "--preprocess t.toml", USAGE, "not a folder of images"),
]


@pytest.mark.parametrize("existing", [False, True], ids=["new", "existing"])
@pytest.mark.parametrize(
    ("prepare", "changed", "code", "names"), [c[1:] for c in CASES], ids=[c[0] for c in CASES]
)
def test_bad_input(
    prepare: Callable[[Path], object],
    changed: str,
    code: int,
    names: str,
    existing: bool,
    here: Path,
    call: Call,
) -> None:
    prepare(here)
    if existing:
        (here / "out.onnx").write_bytes(b"what was there before")
    before = content(here)
    words = changed.split()
    files = [] if words and not words[0].startswith("-") else ["in.onnx", "out.onnx"]
    given = "" if "--no-data" in words else "--data d.npz"
    words = [w for w in words if w != "--no-data"]
    if not any(w.startswith("--passes") for w in words):
        words += ["--passes", "prune,quant"]
    if "--data" not in words:
        words += given.split()
    ended = call("optimize", *files, *words)
    assert names in ended.complaint
    assert ended.code == code
    assert ended.out == ""
    assert content(here) == before


@pytest.mark.parametrize("command", ["validate in.onnx", "profile", "inspect"])
@pytest.mark.parametrize(
    ("prepare", "code", "names"),
    [
        (lambda p: p.unlink(), USAGE, "'bad.onnx' does not exist"),
        (lambda p: p.write_text("hello"), MODEL, "'bad.onnx' is not an ONNX model"),
    ],
    ids=["missing", "text"],
)
def test_bad_model_for_the_other_commands(
    command: str, prepare: Callable[[Path], object], code: int, names: str, here: Path, call: Call
) -> None:
    (here / "bad.onnx").touch()
    prepare(here / "bad.onnx")
    ended = call(*command.split(), "bad.onnx")
    assert names in ended.complaint
    assert ended.code == code


OTHERS = [
    ("validate in.onnx in.onnx --gate none.toml", USAGE, "'none.toml'"),
    ("validate in.onnx in.onnx --data none.npz", USAGE, "'none.npz'"),
    ("validate in.onnx in.onnx --data d.npz --samples 0", USAGE, "samples 0"),
    ("inspect in.onnx --data d.npz --samples -1", USAGE, "samples -1"),
    ("validate in.onnx in.onnx --metric x --data d.npz", USAGE, "metric 'x'"),
    ("validate in.onnx in.onnx --labels d.npz", USAGE, "labels, a metric"),
    ("validate in.onnx in.onnx --junit in.onnx", USAGE, "same file"),
    ("validate in.onnx in.onnx --junit r --report r", USAGE, "same file as 'r'"),
    ("validate in.onnx in.onnx --report d.npz --data d.npz", USAGE, "same file as 'd.npz'"),
    ("validate in.onnx", USAGE, "candidate"),
    ("profile in.onnx --shape x=3", USAGE, "x=3"),
    ("profile in.onnx --shape y:3,16", USAGE, "y"),
    ("profile in.onnx --shape x:3,17", USAGE, "x"),
    ("profile in.onnx --shape x:3,16 --data d.npz", USAGE, "are mutually exclusive"),
    ("profile in.onnx --shape x:3,16 --shape x:4,16", USAGE, "twice"),
    ("profile in.onnx --seconds 0", USAGE, "seconds 0.0 must be above 0"),
    ("profile in.onnx --report d.npz --data d.npz", USAGE, "same file as 'd.npz'"),
    ("profile in.onnx --threads -1", USAGE, "--threads"),
    *(
        (f"{command} --batch {nonsense}", USAGE, "--batch")
        for command in ("profile in.onnx", "optimize in.onnx o.onnx --passes prune")
        for nonsense in ("0", "-1", "1.5", "many", "")
    ),
    ("profile in.onnx --batch 2 --shape x:3,16", USAGE, "mutually exclusive"),
    ("profile fixed.onnx --batch 2", USAGE, "fixes its batch at 3"),
    ("optimize fixed.onnx o.onnx --passes prune --batch 2", USAGE, "fixes its batch at 3"),
    ("inspect in.onnx --target moon", USAGE, "'moon'"),
    (f"info {LONG}", USAGE, "does not exist"),
    (f"unpack {LONG} o.onnx", USAGE, "does not exist"),
    (f"pack {LONG} o.ocz", USAGE, "does not exist"),
    (f"pack in.onnx {LONG}.ocz", USAGE, "choose a shorter one"),
    (f"recipes {LONG}", USAGE, "is not a file"),
    ("passes prume", USAGE, "did you mean 'prune'"),
    ("optimise", USAGE, "Did you mean 'optimize'?"),
    ("quant in.onnx", USAGE, "it is a pass: ocompress optimize IN OUT --passes quant"),
    ("gate in.onnx", USAGE, "validate REFERENCE CANDIDATE --gate FILE"),
    (
        "wibble",
        USAGE,
        "there are optimize, plan, distill, sweep, validate, profile, inspect, pack, unpack, info, "
        "passes, recipes",
    ),
]


@pytest.mark.parametrize(("line", "code", "names"), OTHERS, ids=[c[0] for c in OTHERS])
def test_bad_arguments_for_the_other_commands(
    line: str, code: int, names: str, here: Path, call: Call
) -> None:
    b = Builder()
    b.output(b.op("MatMul", b.input("x", [3, 16]), b.weight(16, 4)), [3, 4])
    save_model(b.model(), here / "fixed.onnx")
    before = content(here)
    ended = call(*line.split())
    assert names in ended.complaint
    assert ended.code == code
    assert content(here) == before


@pytest.mark.usefixtures("here")
def test_unwritable_folder(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refuse)  # root may write anywhere
    ended = call("optimize", "in.onnx", "out.onnx", "--passes", "prune")
    assert ended.code == FAILURE
    assert ended.complaint == "error: cannot write 'out.onnx': Permission denied"


def odd(dtype: int) -> Callable[[Path], None]:
    """Write a model of another float type."""

    def write(folder: Path) -> None:
        b = Builder()
        kind = onnx.helper.tensor_dtype_to_np_dtype(dtype)
        h = b.op("MatMul", b.input("x", ["n", 16], dtype), b.weight(16, 4, dtype=kind))
        b.op("Relu", h, to="y")
        b.output("y", ["n", 4], dtype)
        (folder / "in.onnx").write_bytes(b.proto(18).SerializeToString())

    return write


def zero_nodes(folder: Path) -> None:
    b = Builder()
    b.input("x", ["n", 16])
    b.output("x", ["n", 16])
    (folder / "in.onnx").write_bytes(b.proto().SerializeToString())


def weightless(folder: Path) -> None:
    b = Builder()
    b.op("Relu", b.input("x", ["n", 16]), to="y")
    b.output("y", ["n", 16])
    (folder / "in.onnx").write_bytes(b.proto().SerializeToString())


def scalar(folder: Path) -> None:
    b = Builder()
    b.op("Relu", b.input("x", []), to="y")
    b.output("y", [])
    (folder / "in.onnx").write_bytes(b.proto().SerializeToString())
    np.savez(folder / "d.npz", x=np.float32(3))


def defaults_as_inputs(folder: Path) -> None:
    proto = to_proto(ZOO["mlp"]())
    proto.ir_version = 3
    for tensor in proto.graph.initializer:
        proto.graph.input.append(
            onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
        )
    (folder / "in.onnx").write_bytes(proto.SerializeToString())


def quantized(folder: Path) -> None:
    b = Builder()
    scale, zero = b.const(np.float32(0.1)), b.const(np.uint8(128))
    q = b.op("QuantizeLinear", b.input("x", ["n", 16]), scale, zero)
    h = b.op("DequantizeLinear", q, scale, zero)
    b.op("MatMul", h, b.weight(16, 4), to="y")
    b.output("y", ["n", 4])
    (folder / "in.onnx").write_bytes(b.proto().SerializeToString())


@pytest.mark.parametrize(
    "prepare",
    [odd(T.FLOAT16), odd(T.DOUBLE), zero_nodes, weightless, scalar, defaults_as_inputs, quantized],
    ids=["float16", "double", "zero-nodes", "weightless", "rank-0", "ir-3", "quantized"],
)
def test_odd_models_are_served_or_refused_in_one_sentence(
    prepare: Callable[[Path], None], here: Path, call: Call
) -> None:
    prepare(here)
    ended = call("optimize", "in.onnx", "out.onnx", "--passes", "prune,quant", "--data", "d.npz",
                 "--no-profile")  # fmt: skip
    assert ended.code in (0, 1), ended.err
    load_model(here / "out.onnx")
    assert sorted(p.name for p in here.iterdir()) == ["d.npz", "in.onnx", "out.onnx"]


@pytest.mark.parametrize(
    "command",
    [
        "optimize in.onnx out.onnx --passes prune --data d.npz",
        "validate in.onnx in.onnx --data d.npz",
        "profile in.onnx --data d.npz",
        "profile in.onnx",
        "profile good.onnx --against in.onnx",
        "plan in.onnx -o plan.toml --data d.npz",
    ],
)
@pytest.mark.parametrize("fails", ["loading", "running"])
def test_a_model_that_the_runtime_cannot_run_ends_every_command_alike(
    command: str, fails: str, here: Path, call: Call
) -> None:
    b = Builder()
    x = b.input("x", ["n", 4])
    if fails == "loading":
        for value, low in ((x, "low"), (b.weight(4, 4), "w")):
            b.ops("Cast", [value], [low], to=T.BFLOAT16)
        b.ops("Cast", [b.op("MatMul", "low", "w")], ["y"], to=T.FLOAT)
        b.output("y")
    else:
        b.output(b.op("Reshape", x, b.const(np.array([7, 7], np.int64))))
    save_model(b.model(), here / "in.onnx")
    good = Builder()
    good.output(good.op("Relu", good.input("x", ["n", 4])))
    save_model(good.model(), here / "good.onnx")
    np.savez(here / "d.npz", x=np.ones((40, 4), np.float32))
    ended = call(*command.split())
    assert ended.code == MODEL, ended.err
    assert ended.complaint
    assert not (here / "out.onnx").exists()
    compared = call("validate", "good.onnx", "in.onnx", "--data", "d.npz")
    assert compared.code == OVER_BUDGET
    assert compared.complaint.count("ONNX Runtime") == 1


def test_bfloat16_is_refused_where_the_runtime_lacks_it(here: Path, call: Call) -> None:
    odd(T.BFLOAT16)(here)
    ended = call("optimize", "in.onnx", "out.onnx", "--passes", "prune")
    assert ended.code in (0, MODEL), ended.err
    if ended.code:
        assert "MatMul" in ended.complaint
        assert not (here / "out.onnx").exists()
