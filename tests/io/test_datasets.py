"""Calibration data in every form, and what is said when they do not fit."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto as T
from onnx import numpy_helper

from ocompress.errors import DataError
from ocompress.io import Dataset, as_dataset, load_data, synthetic_data
from ocompress.io.dataset import all_alike, notes_of
from ocompress.ir import Model
from tests.build import Builder

Array = np.ndarray


def model(**inputs: tuple[Any, int]) -> Model:
    """Return a model with inputs of given shape and type."""
    b = Builder()
    for name, (shape, dtype) in inputs.items():
        b.input(name, shape, dtype)
        b.op("Identity", name, to=f"{name}_out")
        b.output(f"{name}_out", shape, dtype)
    return b.model()


ONE = model(x=(["n", 3], T.FLOAT))
TWO = model(x=(["n", 3], T.FLOAT), ids=(["n", 5], T.INT64))


def floats(*shape: int) -> Array:
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape)


def together(data: Dataset, name: str) -> Array:
    return np.concatenate([feed[name] for feed in data])


# -- what becomes of arrays -----------------------------------------------------------------


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_archive_is_cut_into_batches(save: Any, tmp_path: Path) -> None:
    x, ids = floats(70, 3), np.arange(350).reshape(70, 5)
    save(tmp_path / "d.npz", x=x, ids=ids, labels=np.arange(70))
    data = load_data(tmp_path / "d.npz", TWO)
    assert [len(f["x"]) for f in data] == [32, 32, 6]
    assert (data.samples, len(data)) == (70, 3)
    for _ in range(2):  # any number of times
        np.testing.assert_array_equal(together(data, "x"), x)
        np.testing.assert_array_equal(together(data, "ids"), ids)
    np.testing.assert_array_equal(data.labels, np.arange(70))


def test_take_and_samples_limit_exactly(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", x=floats(70, 3), label=np.arange(70))
    for data in (
        load_data(tmp_path / "d.npz", ONE, samples=40),
        load_data(tmp_path / "d.npz", ONE).take(40),
    ):
        assert [len(f["x"]) for f in data] == [32, 8]
        assert data.labels is not None
        assert len(data.labels) == data.samples == 40
    assert load_data(tmp_path / "d.npz", ONE).take(1).samples == 1


def test_fixed_batch_drops_the_remainder_and_says_so(tmp_path: Path) -> None:
    np.save(tmp_path / "d.npy", floats(10, 3))
    data = load_data(tmp_path / "d.npy", model(x=([4, 3], T.FLOAT)))
    assert [f["x"].shape for f in data] == [(4, 3), (4, 3)]
    assert data.samples == 8
    assert "left out: the last 2 samples" in data.notes[0]  # type: ignore[attr-defined]
    assert data.take(5).samples == 4


def test_one_axis_more_is_a_feed_per_index(tmp_path: Path) -> None:
    state = model(x=(["n", 3], T.FLOAT), h=([2, 1, 4], T.FLOAT), rate=([], T.INT64))
    x, h = floats(5, 1, 3), floats(5, 2, 1, 4)
    np.savez(tmp_path / "d.npz", x=x, h=h, rate=np.int64(16000))
    feeds = list(load_data(tmp_path / "d.npz", state))
    assert len(feeds) == 5
    np.testing.assert_array_equal(feeds[3]["h"], h[3])
    np.testing.assert_array_equal(feeds[3]["x"], x[3])
    assert feeds[3]["rate"].shape == ()


def test_array_of_a_fixed_input_goes_into_every_feed(tmp_path: Path) -> None:
    wanted = model(x=(["n", 3], T.FLOAT), size=([2], T.FLOAT))
    np.savez(tmp_path / "d.npz", x=floats(40, 3), size=floats(2))
    assert [f["size"].tolist() for f in load_data(tmp_path / "d.npz", wanted)] == [[0, 1], [0, 1]]


def test_large_samples_come_in_small_batches() -> None:
    big = model(x=(["n", 1 << 20], T.FLOAT))
    data = as_dataset({"x": np.zeros((9, 1 << 20), np.float32)}, big)
    assert [len(f["x"]) for f in data] == [4, 4, 1]


def test_negative_extents_are_free() -> None:
    b = Builder()
    b.op("Flatten", b.input("x", [-1, 3, -1]), to="y")
    b.output("y", [-1, -1])
    made = b.model()
    assert made.graph.inputs[0].shape == (None, 3, None)
    assert next(iter(synthetic_data(made, 1)))["x"].shape == (1, 3, 16)
    assert len(as_dataset({"x": floats(4, 3, 7)}, made)) == 1


@pytest.mark.parametrize(("rows", "columns", "sizes"), [("n", 1 << 20, [16, 16, 8]), (40, 8, [40])])
def test_large_inner_values_make_small_batches(
    rows: int | str, columns: int, sizes: list[int], tmp_path: Path
) -> None:
    b = Builder()
    wide = b.op("Expand", b.input("x", [rows, 1]), b.const(np.asarray([1, columns], np.int64)))
    b.op("ReduceSum", wide, b.const(np.asarray([1])), to="y")
    b.output("y", [rows, 1])
    x = np.ones((40, 1), np.float32)
    np.savez(tmp_path / "x.npz", x=x)
    for data in (as_dataset({"x": x}, b.model()), load_data(tmp_path / "x.npz", b.model())):
        assert [len(feed["x"]) for feed in data] == sizes
        assert len(data.take(17)) == len(sizes[:2])


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_memory_does_not_grow_with_the_file(method: int, tmp_path: Path) -> None:
    path = tmp_path / "d.npz"
    with (
        zipfile.ZipFile(path, "w", method, compresslevel=1) as archive,
        archive.open("x.npy", "w", force_zip64=True) as stream,
    ):
        header = {"descr": "<f4", "fortran_order": False, "shape": (4000, 3, 64, 64)}
        np.lib.format.write_array_header_1_0(stream, header)
        block = np.ones((100, 3, 64, 64), np.float32).tobytes()
        for _ in range(40):
            stream.write(block)
    data = load_data(path, model(x=(["n", 3, 64, 64], T.FLOAT)))
    tracemalloc.start()
    assert sum(len(f["x"]) for f in data) == 4000  # 196 MB
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16e6


def test_columns_first_arrays_are_read_right(tmp_path: Path) -> None:
    x = floats(7, 3)
    np.save(tmp_path / "d.npy", np.asfortranarray(x))
    np.testing.assert_array_equal(together(load_data(tmp_path / "d.npy", ONE), "x"), x)


def test_folder_of_equal_files_is_one_array(tmp_path: Path) -> None:
    for i in range(3):
        np.savez(tmp_path / f"{i}.npz", x=floats(20, 3) + i, labels=np.full(20, i))
    data = load_data(tmp_path, ONE)
    assert [len(f["x"]) for f in data] == [32, 28]
    np.testing.assert_array_equal(together(data, "x")[40:], floats(20, 3) + 2)
    np.testing.assert_array_equal(data.labels, np.repeat([0, 1, 2], 20))
    assert data.take(25).samples == 25


def test_a_sample_in_a_file_without_its_batch_is_named(tmp_path: Path) -> None:
    """Joined, files would be said to have a shape that none of them has."""
    for at in range(4):
        np.savez(tmp_path / f"{at}.npz", x=floats(3, 4))
    with pytest.raises(DataError, match=r"0\.npz': 'x' has shape \[3, 4\]"):
        as_dataset(tmp_path, model(x=(["n", 2, 3, 4], T.FLOAT)))


@pytest.mark.parametrize(
    ("arrays", "alike"),
    [
        ({"x": np.ones((5, 3), np.float32)}, True),
        ({"x": np.zeros((5, 3), np.float32), "z": np.full((5, 1), np.nan, np.float32)}, True),
        ({"x": np.ones((5, 3), np.float32), "z": floats(5, 1)}, False),
        ({"x": floats(1, 3)}, False),
    ],
)
def test_samples_that_are_all_the_same_are_told(arrays: dict[str, Array], alike: bool) -> None:
    given = model(**{name: (["n", a.shape[1]], T.FLOAT) for name, a in arrays.items()})
    assert any("the same numbers" in note for note in notes_of(as_dataset(arrays, given))) == alike


def test_feeds_that_are_all_the_same_are_told() -> None:
    given = model(x=(["n", 3], T.FLOAT))
    same, other = {"x": np.ones((1, 3), np.float32)}, {"x": floats(1, 3)}
    assert all_alike(as_dataset([same, same], given))
    assert not all_alike(as_dataset([same, same, other], given))


def test_folder_of_files_of_different_shape_is_a_chain(tmp_path: Path) -> None:
    free = model(x=(["n", 1, "w"], T.FLOAT))
    for width in (4, 6):
        np.save(tmp_path / f"{width}.npy", floats(2, 1, width))
    data = load_data(tmp_path, free)
    assert [f["x"].shape for f in data] == [(2, 1, 4), (2, 1, 6)]
    assert data.take(2).samples == 2
    assert data.take(3).samples == 3


def test_model_zoo_folders(tmp_path: Path) -> None:
    for i in (0, 2, 10):
        folder = tmp_path / f"test_data_set_{i}"
        folder.mkdir()
        for number, array in enumerate([floats(1, 3) + i, np.full((1, 5), i)]):
            tensor = numpy_helper.from_array(array)
            (folder / f"input_{number}.pb").write_bytes(tensor.SerializeToString())
    feeds = list(load_data(tmp_path, TWO))
    assert [int(f["ids"][0, 0]) for f in feeds] == [0, 2, 10]
    assert len(list(load_data(tmp_path / "test_data_set_2", TWO))) == 1


SOURCE = """
import numpy as np

def generator():
    for i in range(3):
        yield {"x": np.full((2, 3), i, np.float32)}

class Reader:
    def __init__(self):
        self.left = [{"x": np.zeros((1, 3), np.float32)}] * 4
    def get_next(self):
        return self.left.pop() if self.left else None

def listed():
    return [{"x": np.zeros((1, 3))}]

def broken():
    yield {"x": np.zeros((1, 3), np.float32)}
    raise ValueError("camera unplugged")

def tuples():
    yield (np.zeros(3),)

constant = 3
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "mydata.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(__import__("sys").modules, "mydata", raising=False)
    return "mydata"


@pytest.mark.parametrize(
    ("name", "samples", "count"), [("generator", 6, 3), ("Reader", 4, 4), ("listed", 1, 1)]
)
def test_functions_give_feeds(module: str, name: str, samples: int, count: int) -> None:
    data = load_data(f"{module}:{name}", ONE)
    assert (data.samples, len(data), len(list(data))) == (samples, count, count)
    assert data.take(3).samples == min(samples, 2 if name == "generator" else 3)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("broken", "raised ValueError: camera unplugged"),
        ("tuples", "gave a tuple"),
        ("constant", "not a function"),
        ("nothing", "AttributeError"),
    ],
)
def test_bad_functions(module: str, name: str, says: str) -> None:
    with pytest.raises(DataError, match=says):
        list(load_data(f"{module}:{name}", ONE))


def images(folder: Path, **table: object) -> Path:
    image = pytest.importorskip("PIL.Image")
    for i in range(3):
        pixels = np.zeros((8, 12, 3), np.uint8)
        pixels[..., 0], pixels[..., 2] = 255, 10 * i
        image.fromarray(pixels).save(folder / f"{i}.png")
    lines = [f"{k} = {str(v).lower() if isinstance(v, bool) else v!r}" for k, v in table.items()]
    (folder / "preprocess.toml").write_text("\n".join(lines))
    return folder


def test_images_are_prepared_by_the_table(tmp_path: Path) -> None:
    folder = images(tmp_path, size=[4, 6], mean=[0.5, 0.5, 0.5], std=[0.5, 0.25, 0.5], color="BGR")
    wanted = model(x=(["n", 3, 4, 6], T.FLOAT))
    (feed,) = load_data(folder, wanted)
    assert feed["x"].shape == (3, 3, 4, 6)
    np.testing.assert_allclose(feed["x"][2, :, 0, 0], [(20 / 255 - 0.5) / 0.5, -2.0, 1.0], 1e-6)


def test_images_cropped_last_channel_bytes(tmp_path: Path) -> None:
    folder = images(tmp_path, size=[4, 4], crop=0.5, layout="NHWC", scale=1.0)
    (feed,) = load_data(folder, model(x=(["n", 4, 4, 3], T.UINT8)))
    np.testing.assert_array_equal(feed["x"][1, 2, 2], [255, 0, 10])


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ({"size": [4, 4], "sise": 1}, "unknown entry 'sise'"),
        ({"scale": 1}, "lacks 'size'"),
        ({"size": [4, 4], "layout": "CHWN"}, "bad layout"),
        ({"size": [4, 4], "mean": [1.0, 2.0]}, "bad mean"),
        ({"size": 4}, "bad size"),
        ({"size": [4.5, 4]}, "bad size"),
        ({"size": [0, 4]}, "bad size"),
        ({"size": [1 << 14, 1 << 14]}, "bad size"),
        ({"size": [4, 4], "crop": "most"}, "bad crop"),
        ({"size": [4, 4], "color": ["RGB"]}, "bad color"),
        ({"size": [4, 4], "scale": "1/255"}, "bad scale"),
        ({"size": [4, 4], "scale": 1e39}, "bad scale"),
        ({"size": [4, 4], "mean": [10**400]}, "bad mean"),
        ({"size": [4, 4], "std": [float("inf")]}, "bad std"),
        ({"size": [4, 4], "std": [0.0]}, "bad std"),
    ],
)
def test_bad_tables(table: dict[str, object], says: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=says):
        load_data(images(tmp_path, **table), model(x=(["n", 3, 4, 4], T.FLOAT)))


def test_damaged_image_is_named(tmp_path: Path) -> None:
    (images(tmp_path, size=[4, 4]) / "1.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"1\.png"):
        list(load_data(tmp_path, model(x=(["n", 3, 4, 4], T.FLOAT))))


def test_a_picture_that_would_fill_memory_is_refused(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    folder = images(tmp_path, size=[4, 4], crop=1e-6)
    with pytest.raises(DataError, match="resized to 6000000 x 4000000 pixels"):
        list(load_data(folder, model(x=(["n", 3, 4, 4], T.FLOAT))))
    stream = io.BytesIO()
    image.new("RGB", (4, 4)).save(stream, "bmp")
    content = bytearray(stream.getvalue())
    content[18:26] = struct.pack("<ii", 1 << 16, 1 << 16)  # width and height
    folder = images(tmp_path, size=[4, 4])
    (folder / "1.bmp").write_bytes(content)
    with pytest.raises(DataError, match=r"1\.bmp' cannot be decoded"):
        list(load_data(folder, model(x=(["n", 3, 4, 4], T.FLOAT))))


@pytest.mark.parametrize("text", [f"size = {'9' * 5000}", f"size = {'[' * 5000}"])
def test_a_table_that_is_beyond_the_parser_cannot_be_read(text: str, tmp_path: Path) -> None:
    folder = images(tmp_path, size=[4, 4])
    (folder / "preprocess.toml").write_text(text)
    with pytest.raises(DataError, match="cannot be read"):
        load_data(folder, model(x=(["n", 3, 4, 4], T.FLOAT)))


# -- types ----------------------------------------------------------------------------------


@pytest.mark.parametrize("given", ["float64", "float16", ">f4"])
def test_other_floats_are_cast(given: str) -> None:
    (feed,) = as_dataset({"x": floats(2, 3).astype(given)}, ONE)
    assert feed["x"].dtype == np.float32
    np.testing.assert_array_equal(feed["x"], floats(2, 3))


def test_integers_are_cast_within_range() -> None:
    wanted = model(x=(["n"], T.INT8))
    (feed,) = as_dataset({"x": np.array([-128, 127])}, wanted)
    assert feed["x"].dtype == np.int8
    with pytest.raises(DataError, match=r"'x' holds a value outside int8 in sample 1"):
        list(as_dataset({"x": np.array([0, 128])}, wanted))


@pytest.mark.parametrize(
    ("array", "dtype", "says"),
    [
        (np.zeros((2, 3), np.uint8), T.FLOAT, "is uint8, .*scale it as in training"),
        (np.zeros((2, 3), np.float32), T.INT64, "wants int64"),
        (np.zeros((2, 3), bool), T.FLOAT, "wants float"),
        (np.zeros((2, 3), np.int32), T.BOOL, "wants bool"),
        (np.zeros((2, 3), np.complex64), T.FLOAT, "complex64"),
        (np.full((2, 3), "a"), T.FLOAT, "wants float"),
    ],
)
def test_other_kinds_are_refused(array: Array, dtype: int, says: str) -> None:
    with pytest.raises(DataError, match=says):
        as_dataset({"x": array}, model(x=(["n", 3], dtype)))


def spreading() -> Model:
    """Return a model whose outputs all depend on every element of a sample."""
    b = Builder()
    b.op("MatMul", b.input("x", ["n", 3]), b.const(np.ones((3, 2), np.float32)), to="y")
    b.output("y", ["n", 2])
    return b.model()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_leaves_the_model_nothing_to_say_is_refused_with_the_sample(
    bad: float, tmp_path: Path
) -> None:
    x = floats(50, 3)
    x[41, 2] = bad
    np.savez(tmp_path / "d.npz", x=x)
    with pytest.raises(DataError, match=r"d\.npz': 'x' holds NaN or infinity in sample 41"):
        list(load_data(tmp_path / "d.npz", spreading()))
    with pytest.raises(DataError, match="in sample 41"):
        list(as_dataset([{"x": x[i : i + 1]} for i in range(50)], spreading()))


def test_what_the_model_is_made_for_is_taken() -> None:
    b = Builder()
    s = b.op("Add", b.input("x", ["n", 3]), b.input("mask", ["n", 3]))
    b.op("Softmax", s, to="y", axis=-1)
    b.output("y", ["n", 3])
    mask = np.zeros((50, 3), np.float32)
    mask[7:, 1] = -np.inf
    data = as_dataset({"x": floats(50, 3), "mask": mask}, b.model())
    np.testing.assert_array_equal(together(data, "mask"), mask)
    mask[9] = -np.inf  # nothing is left: 0 / 0
    with pytest.raises(DataError, match="'mask' holds NaN or infinity in sample 9"):
        list(as_dataset({"x": floats(50, 3), "mask": mask}, b.model()))


def test_what_the_element_type_cannot_hold_is_refused_with_the_sample(tmp_path: Path) -> None:
    x = floats(50, 3).astype(np.float64)
    x[41, 2] = 1e300
    np.savez(tmp_path / "d.npz", x=x)
    with pytest.raises(DataError, match=r"'x' holds a value outside float in sample 41"):
        list(load_data(tmp_path / "d.npz", ONE))


# -- what does not fit ----------------------------------------------------------------------

MISFITS: list[tuple[Model, dict[str, Array], str]] = [
    (TWO, {"x": floats(2, 3)}, r"lack input 'ids'.*x \(float\[n, 3\]\), ids.*hold x"),
    (ONE, {"y": floats(2, 3)}, "lack input 'x'.*hold y"),
    (ONE, {"x": floats(2, 4)}, r"extent 4 on axis 1, the model wants x"),
    (ONE, {"x": floats(3)}, r"shape \[3\]"),
    (ONE, {"x": floats(2, 1, 1, 3)}, r"shape \[2, 1, 1, 3\]"),
    (ONE, {"x": floats(5, 2, 4)}, "extent 4 on axis 1"),
    (ONE, {"x": floats(0, 3)}, "are empty: 'x' has no samples"),
    (TWO, {"x": floats(2, 3), "ids": np.zeros((3, 5), int)}, r"\(x 2, ids 3\)"),
    (model(x=([4, 3], T.FLOAT)), {"x": floats(3, 3)}, "3 samples, .*batches of 4"),
    (ONE, {"x": floats(4, 3), "labels": np.zeros(3)}, "4 samples but 3 labels"),
]


@pytest.mark.parametrize(("wanted", "arrays", "says"), MISFITS)
def test_misfits_are_named(
    wanted: Model, arrays: dict[str, Array], says: str, tmp_path: Path
) -> None:
    np.savez(tmp_path / "d.npz", **arrays)  # type: ignore[arg-type]
    with pytest.raises(DataError, match=says) as caught:
        load_data(tmp_path / "d.npz", wanted)
    assert "d.npz" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_arrays_nobody_wants_are_noted(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", x=floats(2, 3), paths=np.zeros(2))
    data = load_data(tmp_path / "d.npz", ONE)
    assert data.notes == ("not an input of the model, ignored: paths",)  # type: ignore[attr-defined]


def pickled(folder: Path) -> Path:
    np.save(folder / "d.npy", np.array([{"x": 1}], dtype=object), allow_pickle=True)
    return folder / "d.npy"


def text(folder: Path, name: str, content: str = "hello") -> Path:
    (folder / name).write_text(content)
    return folder / name


def cut(folder: Path) -> Path:
    np.save(folder / "d.npy", floats(100, 3))
    (folder / "d.npy").write_bytes((folder / "d.npy").read_bytes()[:500])
    return folder / "d.npy"


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda f: f / "none.npz", "do not exist"),
        (lambda f: text(f, "d.npz"), "not a zip file"),
        (lambda f: text(f, "d.npy"), "cannot be read"),
        (lambda f: text(f, "d.csv"), "give a .npz or .npy"),
        (pickled, "pickled objects"),
        (cut, "ends too early"),
        (lambda f: f, "holds no .npz"),
        (lambda _: "no_such_module:f", "cannot be imported"),
    ],
)
def test_unreadable_data(make: Any, says: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=says) as caught:
        list(load_data(make(tmp_path), ONE))
    assert "\n" not in str(caught.value)


def test_one_array_serves_one_input(tmp_path: Path) -> None:
    np.save(tmp_path / "d.npy", floats(2, 3))
    with pytest.raises(DataError, match="hold one array but the model wants x"):
        load_data(tmp_path / "d.npy", TWO)


# -- labels ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("l.txt", "3\n1\n"),
        ("l.csv", "3\n1\n"),
        ("l.csv", "file,label\na.png,3\nb.png,1\n"),
        ("l.csv", "label,file\n3,a.png\n1,b.png\n"),
    ],
)
def test_labels_from_text(name: str, content: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", x=floats(2, 3))
    data = load_data(tmp_path / "d.npz", ONE, labels=text(tmp_path, name, content))
    assert data.labels is not None
    assert data.labels.tolist() == [3, 1]
    assert data.labels.dtype == np.int64


def test_labels_from_numpy_files(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", x=floats(2, 3), labels=np.array([9, 9]))
    np.save(tmp_path / "l.npy", np.array([3, 1]))
    np.savez(tmp_path / "l.npz", whatever=np.array([3, 1]))
    for name in ("l.npy", "l.npz"):
        data = load_data(tmp_path / "d.npz", ONE, labels=tmp_path / name)
        assert data.labels is not None
        assert data.labels.tolist() == [3, 1]


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("l.txt", "a\nb\n", "not numbers"),
        ("l.txt", "", "are empty"),
        ("l.json", "[1]", r"give a \.npy"),
        ("l.txt", "1\n2\n3\n", "2 samples but 3 labels"),
        ("l.txt", "1\nnan\n", "NaN"),
    ],
)
def test_bad_labels(name: str, content: str, says: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", x=floats(2, 3))
    with pytest.raises(DataError, match=says):
        load_data(tmp_path / "d.npz", ONE, labels=text(tmp_path, name, content))


# -- synthetic ------------------------------------------------------------------------------


def test_synthetic_data_fit_and_repeat() -> None:
    wanted = model(
        x=(["n", 3, "h", "w"], T.FLOAT), m=(["n", "s"], T.BOOL), i=([2], T.INT32), r=([], T.DOUBLE)
    )
    first, again = (list(synthetic_data(wanted, 3, seed=1)) for _ in range(2))
    other = next(iter(synthetic_data(wanted, 3, seed=2)))
    assert {k: (v.shape, v.dtype.name) for k, v in first[0].items()} == {
        "x": ((1, 3, 224, 224), "float32"),
        "m": ((1, 16), "bool"),
        "i": ((2,), "int32"),
        "r": ((), "float64"),
    }
    np.testing.assert_array_equal(first[2]["x"], again[2]["x"])
    assert not np.array_equal(first[0]["x"], other["x"])
    assert not np.array_equal(first[0]["x"], first[1]["x"])


def test_synthetic_shapes_are_checked() -> None:
    wanted = model(x=(["n", 3, "h"], T.FLOAT))
    (feed,) = synthetic_data(wanted, 2, shapes={"x": (2, 3, 7)})
    assert feed["x"].shape == (2, 3, 7)
    with pytest.raises(DataError, match="contradicts"):
        synthetic_data(wanted, 1, shapes={"x": (1, 4, 7)})
    with pytest.raises(DataError, match="has inputs x"):
        synthetic_data(wanted, 1, shapes={"y": (1,)})


def test_zoo_file_that_is_no_tensor(tmp_path: Path) -> None:
    (tmp_path / "input_0.pb").write_bytes(onnx.ModelProto(producer_name="x").SerializeToString())
    with pytest.raises(DataError, match=r"input_0\.pb"):
        list(load_data(tmp_path, ONE))


def test_zoo_file_of_an_unknown_element_type(tmp_path: Path) -> None:
    tensor = numpy_helper.from_array(floats(1, 3))
    tensor.data_type = 65
    (tmp_path / "input_0.pb").write_bytes(tensor.SerializeToString())
    with pytest.raises(DataError, match=r"input_0\.pb.*element type 65 is unknown"):
        list(load_data(tmp_path, ONE))


def test_a_text_without_axes_is_an_array() -> None:
    wanted = model(x=([], T.STRING))
    [feed] = as_dataset({"x": np.array(["a"], object)}, wanted)
    assert feed["x"].shape == ()
    assert feed["x"].item() == "a"


@pytest.mark.parametrize("shape", [[1, 1 << 40, 4], [0, 1 << 62, 4], [1 << 62, 0, 1 << 62]])
def test_synthetic_data_that_nobody_can_hold_are_refused(shape: list[int]) -> None:
    b = Builder(1)
    b.output(b.op("Relu", b.input("x", shape), to="y"), shape)
    with pytest.raises(DataError, match="would take"):
        next(iter(synthetic_data(b.model(), 1)))


def test_small_integers_are_refused_for_what_drawing_them_takes() -> None:
    wanted = model(x=([1, (1 << 29) + 1], T.INT8))  # 0.5 GiB, made of 4 GiB
    with pytest.raises(DataError, match=r"would take 4,294,967,304 bytes"):
        next(iter(synthetic_data(wanted, 1)))
