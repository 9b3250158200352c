"""Archives as files: packed, unpacked, and loaded like any model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

import ocompress
from ocompress.archive import Archive
from ocompress.errors import InvalidModelError, UnsupportedModelError, UsageError
from ocompress.front import archives
from ocompress.io import (
    is_archive,
    load_model,
    model_files,
    pack_model,
    save_model,
    unpack_model,
)
from ocompress.ir import to_proto
from tests.archive.samples import save_external, small_model
from tests.graphs import ZOO, protos


@pytest.fixture
def external(tmp_path: Path) -> Path:
    """A model with its tensors in a file beside it."""
    save_external(str(tmp_path), onnx.load_from_string(small_model()), "m.onnx")
    return tmp_path / "m.onnx"


def test_a_model_with_external_data_comes_back(external: Path) -> None:
    folder = external.parent
    pack_model(external, folder / "m.ocz")
    assert len(Archive(folder / "m.ocz").tensors) == 3
    there = folder / "there"
    there.mkdir()
    made = unpack_model(folder / "m.ocz", there / "again.onnx")
    assert made == [there / "again.onnx", there / "m.onnx.data"]
    for one, other in zip(made, (external, folder / "m.onnx.data"), strict=True):
        assert one.read_bytes() == other.read_bytes()
    before, after = load_model(external), load_model(folder / "m.ocz")
    for a, b in zip(before.weights(), after.weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert model_files(folder / "m.ocz") == [folder / "m.ocz"]


def test_data_that_two_tensors_share_come_back(external: Path) -> None:
    model = onnx.load(external, load_external_data=False)
    twin = model.graph.initializer.add()
    twin.CopyFrom(model.graph.initializer[0])
    twin.name = "twin"
    onnx.save(model, external)
    pack_model(external, external.parent / "m.ocz")
    there = external.parent / "there"
    there.mkdir()
    for path in unpack_model(external.parent / "m.ocz", there / "m.onnx"):
        assert path.read_bytes() == (external.parent / path.name).read_bytes()


def test_unpacked_files_do_not_replace_each_other_or_the_archive(external: Path) -> None:
    archive = external.parent / "m.ocz"
    pack_model(external, archive)
    content = archive.read_bytes()
    with pytest.raises(UsageError, match=r"m\.onnx\.data"):
        unpack_model(archive, external.parent / "m.onnx.data")
    archive.rename(external.parent / "m.onnx.data")
    with pytest.raises(UsageError, match=r"m\.onnx\.data"):
        unpack_model(external.parent / "m.onnx.data", external.parent / "n.onnx")
    assert (external.parent / "m.onnx.data").read_bytes() == content


def test_missing_and_far_away_data_are_told(external: Path) -> None:
    folder = external.parent
    (folder / "sub").mkdir()
    model = onnx.load(external, load_external_data=False)
    for tensor in model.graph.initializer:
        tensor.external_data[0].value = "sub/m.data"
    onnx.save(model, folder / "far.onnx")
    with pytest.raises(InvalidModelError, match="missing"):
        pack_model(folder / "far.onnx", folder / "far.ocz")
    (folder / "m.onnx.data").rename(folder / "sub" / "m.data")
    with pytest.raises(UnsupportedModelError, match="one folder"):
        pack_model(folder / "far.onnx", folder / "far.ocz")
    assert not (folder / "far.ocz").exists()


def test_a_damaged_archive_writes_nothing(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(small_model())
    pack_model(tmp_path / "m.onnx", tmp_path / "m.ocz")
    content = bytearray((tmp_path / "m.ocz").read_bytes())
    content[20] ^= 1
    (tmp_path / "m.ocz").write_bytes(content)
    for use in (load_model, ocompress.load_archive):
        with pytest.raises(InvalidModelError, match=r"m\.ocz"):
            use(tmp_path / "m.ocz")
    with pytest.raises(InvalidModelError, match=r"m\.ocz"):
        unpack_model(tmp_path / "m.ocz", tmp_path / "n.onnx")
    assert {p.name for p in tmp_path.iterdir()} == {"m.onnx", "m.ocz"}


@pytest.mark.parametrize("name", ["mlp", "documented", "local_function"])
def test_an_archive_loads_as_the_model_does(name: str, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    onnx.save(protos()[name], path)
    pack_model(path, tmp_path / "m.ocz")
    one, other = load_model(path), load_model(tmp_path / "m.ocz")
    assert to_proto(one).SerializeToString() == to_proto(other).SerializeToString()


def test_a_model_is_saved_as_an_archive_by_its_name(tmp_path: Path) -> None:
    model = ZOO["mlp"]()
    assert save_model(model, tmp_path / "m.ocz")
    assert not save_model(model, tmp_path / "m.ocz")
    save_model(model, tmp_path / "m.onnx")
    assert is_archive(tmp_path / "m.ocz")
    (made,) = unpack_model(tmp_path / "m.ocz", tmp_path / "again.onnx")
    assert made.read_bytes() == (tmp_path / "m.onnx").read_bytes()


def test_an_archive_of_an_archive_is_refused(tmp_path: Path) -> None:
    save_model(ZOO["mlp"](), tmp_path / "m.ocz")
    with pytest.raises(UsageError, match="already"):
        pack_model(tmp_path / "m.ocz", tmp_path / "n.ocz")


def test_empty_external_data_come_back(tmp_path: Path) -> None:
    tensor = onnx.TensorProto(name="w", dims=[0], data_type=1, data_location="EXTERNAL")
    tensor.external_data.add(key="location", value="m.data")
    graph = onnx.helper.make_graph([], "g", [], [], [tensor])
    (tmp_path / "m.onnx").write_bytes(onnx.helper.make_model(graph).SerializeToString())
    (tmp_path / "m.data").touch()
    pack_model(tmp_path / "m.onnx", tmp_path / "m.ocz")
    (tmp_path / "m.data").unlink()
    made = unpack_model(tmp_path / "m.ocz", tmp_path / "again.onnx")
    assert [path.stat().st_size for path in made] == [(tmp_path / "m.onnx").stat().st_size, 0]


@pytest.mark.parametrize("odd", ["²", "9" * 5000, "-1", "1e3", ""])
def test_odd_places_of_external_data_come_back(odd: str, external: Path) -> None:
    model = onnx.load(external, load_external_data=False)
    model.graph.initializer[0].external_data[1].value = odd
    onnx.save(model, external)
    pack_model(external, external.parent / "m.ocz")
    assert len(archives.describe(external.parent / "m.ocz").tensors) >= 2
    unpack_model(external.parent / "m.ocz", external.parent / "again.onnx")
    assert (external.parent / "again.onnx").read_bytes() == external.read_bytes()


def test_external_data_without_a_length_are_all_that_follow(external: Path) -> None:
    model = onnx.load(external, load_external_data=False)
    del model.graph.initializer[-1].external_data[2]
    assert [e.key for e in model.graph.initializer[-1].external_data] == ["location", "offset"]
    onnx.save(model, external)
    pack_model(external, external.parent / "m.ocz")
    assert len(Archive(external.parent / "m.ocz").tensors) == 3


def test_models_of_tomorrow_are_packed(tmp_path: Path) -> None:
    model = onnx.load_from_string(small_model())
    model.ir_version, model.opset_import[0].version = 99, 999
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString() + b"\xfa\x7f\x02hi")
    archives.pack(tmp_path / "m.onnx", tmp_path / "m.ocz")
    (made,) = archives.unpack(tmp_path / "m.ocz", tmp_path / "again.onnx")
    assert made.read_bytes() == (tmp_path / "m.onnx").read_bytes()
    with pytest.raises(UnsupportedModelError, match=r"m\.ocz"):
        load_model(tmp_path / "m.ocz")


@pytest.mark.parametrize("content", [b"", b"no model", b"\x08\x07"])
def test_only_models_are_packed(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(content)
    with pytest.raises(InvalidModelError, match=r"m\.onnx"):
        pack_model(tmp_path / "m.onnx", tmp_path / "m.ocz")


def test_the_runtime_runs_an_archive(tmp_path: Path) -> None:
    model = ZOO["mlp"]()
    save_model(model, tmp_path / "m.ocz")
    session = ocompress.load_archive(tmp_path / "m.ocz")
    save_model(model, tmp_path / "m.onnx")
    x = np.random.default_rng(0).standard_normal((3, 16)).astype(np.float32)
    (got,) = session.run(None, {session.get_inputs()[0].name: x})
    import onnxruntime as ort

    (wanted,) = ort.InferenceSession(tmp_path / "m.onnx").run(None, {"x": x})
    np.testing.assert_allclose(got, wanted, atol=1e-5)
