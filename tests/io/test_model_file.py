"""Models to and from files: what comes back, what is refused, what survives a failure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from ocompress.errors import (
    InvalidModelError,
    OcompressError,
    OutputError,
    UnsupportedModelError,
    UsageError,
)
from ocompress.io import load_model, model_files, save_model
from ocompress.io.external import stored_tensors
from ocompress.ir import Model, fingerprint, from_proto
from tests.build import Builder
from tests.graphs import ZOO


def wide(size: int = 200) -> Model:
    """Return a model with a tensor large enough to be streamed, and small ones."""
    b = Builder()
    x = b.input("x", ["n", size])
    h = b.op("Gemm", x, b.weight(size, size), b.weight(size))
    b.op("Gemm", b.op("Relu", h), b.weight(size, 3), to="y")
    b.output("y", ["n", 3])
    return b.model()


def leftovers(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.rglob("*"))


@pytest.mark.parametrize("name", sorted(ZOO))
@pytest.mark.parametrize("external", [False, True])
def test_saved_model_comes_back(name: str, external: bool, tmp_path: Path) -> None:
    model = ZOO[name]()
    model.sort()
    save_model(model, tmp_path / "m.onnx", external=external)
    assert fingerprint(load_model(tmp_path / "m.onnx")) == fingerprint(model)
    assert set(leftovers(tmp_path)) <= {"m.onnx", "m.onnx.data"}


def test_streamed_bytes_are_those_of_protobuf(tmp_path: Path) -> None:
    save_model(wide(), tmp_path / "m.onnx")
    raw = (tmp_path / "m.onnx").read_bytes()
    assert raw == onnx.load_from_string(raw).SerializeToString(deterministic=True)
    onnx.checker.check_model(tmp_path / "m.onnx", full_check=True)


def test_external_data_are_mapped_and_shared_constants_stored_once(tmp_path: Path) -> None:
    b = Builder()
    x = b.input("x", [2, 64])
    first = b.op("MatMul", x, b.const(np.ones((64, 64), np.float32), "w"))
    b.op("MatMul", first, b.const(np.ones((64, 64), np.float32), "v"), to="y")
    b.output("y", [2, 64])
    model = b.model()
    constants = model.graph.initializers
    assert constants["w"].data is not None
    constants["v"].data = constants["w"].data
    save_model(model, tmp_path / "m.onnx", external=True)
    assert (tmp_path / "m.onnx.data").stat().st_size == 64 * 64 * 4
    again = load_model(tmp_path / "m.onnx")
    data = again.graph.initializers["v"].data
    assert data is not None
    assert not data.flags.owndata
    assert not data.flags.writeable
    assert data.flags.aligned


def test_file_with_the_same_bytes_is_left_untouched(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    assert save_model(wide(), path)
    before = path.stat()
    assert not save_model(wide(), path)
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    assert path.stat().st_ino == before.st_ino
    assert save_model(wide(100), path)


def test_a_name_may_be_as_long_as_names_of_files_may_be(tmp_path: Path) -> None:
    for name in (f"{'a' * 250}.onnx", f"{'ж' * 125}.onnx"):
        assert save_model(ZOO["mlp"](), tmp_path / name)
        assert [path.name for path in tmp_path.iterdir()] == [name]
        (tmp_path / name).unlink()


def test_permissions_of_a_replaced_file_stay(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(b"old")
    path.chmod(0o640)
    save_model(wide(), path)
    assert path.stat().st_mode & 0o777 == 0o640


def test_a_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "m.onnx").symlink_to(tmp_path / "real" / "m.onnx")
    save_model(wide(), tmp_path / "m.onnx")
    assert (tmp_path / "m.onnx").is_symlink()
    load_model(tmp_path / "real" / "m.onnx")


@pytest.mark.parametrize("when", ["write", "second move"])
def test_failure_leaves_the_old_pair_of_files(
    when: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "m.onnx"
    save_model(wide(60), path, external=True)
    old = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    replace, fail = Path.replace, OSError(28, "No space left on device")

    def broken_replace(self: Path, target: Path) -> Path:
        if Path(target) == path and self.parent.name != ".replaced":
            raise fail
        return replace(self, target)

    def broken_sync(_: int) -> None:
        raise fail

    if when == "write":
        monkeypatch.setattr("os.fsync", broken_sync)
    else:
        monkeypatch.setattr(Path, "replace", broken_replace)
    with pytest.raises(OutputError, match="No space left"):
        save_model(wide(80), path, external=True)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == old


def test_interruption_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("os.fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        save_model(wide(), tmp_path / "m.onnx")
    assert leftovers(tmp_path) == []


def test_the_data_file_of_the_input_is_never_replaced(tmp_path: Path) -> None:
    save_model(wide(), tmp_path / "out.onnx", external=True)
    (tmp_path / "out.onnx").rename(tmp_path / "in.onnx")
    model = load_model(tmp_path / "in.onnx")
    with pytest.raises(UsageError, match=r"out\.onnx\.data.*input model reads"):
        save_model(
            model, tmp_path / "out.onnx", external=True, keep=model_files(tmp_path / "in.onnx")
        )
    assert fingerprint(load_model(tmp_path / "in.onnx")) == fingerprint(wide())


def test_model_files_lists_external_data(tmp_path: Path) -> None:
    save_model(wide(), tmp_path / "m.onnx", external=True)
    assert model_files(tmp_path / "m.onnx") == [tmp_path / "m.onnx", tmp_path / "m.onnx.data"]


# -- what is refused ------------------------------------------------------------------------


def stored(folder: Path, **entries: str) -> Path:
    """Write a model whose weight claims to be where `entries` say."""
    save_model(wide(), folder / "m.onnx", external=True)
    proto = onnx.load(folder / "m.onnx", load_external_data=False)
    for tensor, _ in stored_tensors(proto):
        for entry in tensor.external_data:
            entry.value = entries.get(entry.key, entry.value)
    (folder / "m.onnx").write_bytes(proto.SerializeToString())
    return folder / "m.onnx"


def outside_by_link(folder: Path) -> Path:
    path = stored(folder, location="linked")
    (folder / "linked").symlink_to("/etc/hostname")
    return path


def too_short(folder: Path) -> Path:
    path = stored(folder)
    (folder / "m.onnx.data").write_bytes(b"\0" * 100)
    return path


def missing_data(folder: Path) -> Path:
    path = stored(folder)
    (folder / "m.onnx.data").unlink()
    return path


def edited(folder: Path, **fields: Any) -> Path:
    proto = Builder().proto()
    for key, value in fields.items():
        if key == "opset":
            proto.opset_import[0].version = value
        else:
            setattr(proto, key, value)
    (folder / "m.onnx").write_bytes(proto.SerializeToString())
    return folder / "m.onnx"


def raw(folder: Path, content: bytes) -> Path:
    (folder / "m.onnx").write_bytes(content)
    return folder / "m.onnx"


def truncated(folder: Path) -> Path:
    save_model(wide(), folder / "m.onnx")
    return raw(folder, (folder / "m.onnx").read_bytes()[:5000])


def bad_graph(folder: Path) -> Path:
    node = helper.make_node("Relu", ["nowhere"], ["y"], name="lost")
    graph = helper.make_graph([node], "g", [], [helper.make_tensor_value_info("y", 1, [1])])
    return raw(folder, helper.make_model(graph).SerializeToString())


def wrong_size(folder: Path) -> Path:
    tensor = numpy_helper.from_array(np.zeros(4, np.float32), "w")
    tensor.dims[0] = 5
    graph = helper.make_graph([], "g", [], [], [tensor])
    return raw(folder, helper.make_model(graph).SerializeToString())


def unknown_type(folder: Path) -> Path:
    graph = helper.make_graph([], "g", [helper.make_tensor_value_info("x", 99, [1])], [])
    return raw(folder, helper.make_model(graph).SerializeToString())


REFUSED = [
    (lambda f: f / "none.onnx", UsageError, "does not exist"),
    (lambda f: f, UsageError, "is a directory"),
    (lambda f: raw(f, b""), InvalidModelError, "is empty"),
    (lambda f: raw(f, b"this is no model\n" * 9), InvalidModelError, "is not an ONNX model"),
    (lambda f: raw(f, b"\x08\x07"), InvalidModelError, "holds no graph"),
    (truncated, InvalidModelError, "truncated"),
    (bad_graph, InvalidModelError, "'lost' reads 'nowhere'"),
    (wrong_size, InvalidModelError, "initializer 'w' cannot be read"),
    (unknown_type, InvalidModelError, "99"),
    (lambda f: edited(f, ir_version=999), UnsupportedModelError, "IR version 999"),
    (lambda f: edited(f, opset=999), UnsupportedModelError, "opset 999"),
    (missing_data, InvalidModelError, "'m.onnx.data' of .* is missing"),
    (too_short, InvalidModelError, "too short"),
    (outside_by_link, InvalidModelError, "outside the model's folder"),
    (lambda f: stored(f, location="/etc/hostname"), InvalidModelError, "outside the model's"),
    (lambda f: stored(f, location="../m.onnx.data"), InvalidModelError, "outside the model's"),
    (lambda f: stored(f, location=""), InvalidModelError, "outside the model's"),
    (lambda f: stored(f, offset="-4"), InvalidModelError, "offset -4"),
    (lambda f: stored(f, offset="many"), InvalidModelError, "invalid literal"),
    (lambda f: stored(f, length="7"), InvalidModelError, "declares 7 bytes"),
]


@pytest.mark.parametrize(("make", "kind", "says"), REFUSED)
def test_bad_file_is_one_sentence(
    make: Any, kind: type[OcompressError], says: str, tmp_path: Path
) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    path = make(folder)
    with pytest.raises(kind, match=says) as caught:
        load_model(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_external_data_of_constant_nodes_are_read(tmp_path: Path) -> None:
    value = np.arange(600, dtype=np.float32)
    (tmp_path / "w.bin").write_bytes(value.tobytes())
    tensor = TensorProto(dims=[600], data_type=1, name="w", data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="w.bin")
    graph = helper.make_graph(
        [helper.make_node("Constant", [], ["y"], value=tensor)],
        "g",
        [],
        [helper.make_tensor_value_info("y", 1, [600])],
    )
    raw(tmp_path, helper.make_model(graph).SerializeToString())
    model = load_model(tmp_path / "m.onnx")
    save_model(model, tmp_path / "o.onnx")
    (tmp_path / "w.bin").unlink()
    again = load_model(tmp_path / "o.onnx")
    kept = again.graph.nodes[0].attributes["value"].t
    np.testing.assert_array_equal(numpy_helper.to_array(kept), value)


def test_unknown_domain_loads() -> None:
    b = Builder()
    b.op("Strange", b.input("x", [1]), to="y", domain="example.org")
    b.output("y", [1])
    assert from_proto(b.proto(example_org=1)).opsets["example.org"] == 1
