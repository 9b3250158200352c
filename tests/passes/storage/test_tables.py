"""Tables for each row, sums of signs, numbers of columns, and digits: found by looking."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from ocompress.runtime import Session
from passes.storage import forms
from passes.storage.columns import find_columns
from passes.storage.common import with_common_words
from passes.storage.integers import digits
from passes.storage.tables import find_tables
from tests.build import Builder, feeds
from tests.passes.storage.test_pack_weights import after_bytes, draw, net, normal, packed, same


def scales(*shape: int) -> np.ndarray:
    """Draw numbers of few bits."""
    return np.asarray(np.abs(normal(*shape)).astype(np.float16) + np.float16(0.25), np.float32)


def signs(*shape: int, seed: int = 3) -> np.ndarray:
    return draw(np.array([-1, 1], np.float32), *shape, seed=seed)


def sums(rows: int, columns: int, planes: int) -> np.ndarray:
    """Draw sums of signs, with numbers of each row."""
    parts = scales(planes, rows, 1) / (1 << np.arange(planes))[:, None, None].astype(np.float32)
    found: np.ndarray = sum(parts[at] * signs(rows, columns, seed=at) for at in range(planes))
    return found.astype(np.float32)


def check(weight: np.ndarray, form: str, bits: float, folder: Path, opset: int = 11) -> None:
    """See that a weight has a form, and that a file of so many bits a weight restores it."""
    assert forms.smallest(weight).name == form
    model = net(weight, opset)
    packed(model, folder / "p.onnx")
    same(model, folder / "p.onnx")
    assert 8 * after_bytes(folder / "p.onnx", model, folder) <= bits * weight.size


@pytest.mark.parametrize("planes", [2, 3, 4])
def test_sums_of_signs_take_a_bit_for_each(planes: int, tmp_path: Path) -> None:
    weight = sums(128, 256, planes)
    check(weight, f"{planes} planes a row", planes + 0.45, tmp_path)
    check(weight.T.copy(), f"{planes} planes a column", planes + 0.45, tmp_path, 17)


def test_a_plane_of_kernels_takes_a_bit(tmp_path: Path) -> None:
    check(signs(64, 64, 3, 3) * scales(64, 1, 1, 1), "grid, palette, 1 bits", 1.2, tmp_path)


def test_sums_of_which_a_row_has_only_some_are_sums_as_well() -> None:
    weight = sums(64, 200, 3)
    weight[5] = np.where(np.abs(weight[5]) == np.abs(weight[5]).min(), weight[5].max(), weight[5])
    found = find_tables(weight, 0)
    assert found is not None
    assert found.planes == 3


def test_few_values_in_each_row_are_a_table_for_each(tmp_path: Path) -> None:
    table = normal(64, 8)
    weight = np.take_along_axis(table, np.random.default_rng(0).integers(0, 8, (64, 400)), 1)
    check(weight, "palette a row, 3 bits", 4, tmp_path)
    check(weight.T.copy(), "palette a column, 3 bits", 4, tmp_path, 17)
    kernels = weight[:, :288].reshape(64, 32, 3, 3).copy()
    check(kernels, "palette a row, 3 bits", 4.5, tmp_path)


@pytest.mark.parametrize(
    ("levels", "form", "bits"),
    [
        (np.array([-1.0, 1.0]), "columns, grid, palette, 1 bits", 1.5),
        (np.array([-1.0, 0.0, 1.0]), "columns, grid, palette, 1.6 bits", 2.1),
        (np.arange(-3.0, 4.0), "columns, grid, palette, 3 bits", 3.5),
    ],
)
def test_integers_with_a_scale_for_each_row_and_each_column(
    levels: np.ndarray, form: str, bits: float, tmp_path: Path
) -> None:
    whole = draw(levels.astype(np.float32), 128, 256)
    check(whole * scales(128, 1) * scales(1, 256), form, bits, tmp_path)
    kernels = whole.reshape(128, 64, 2, 2) * scales(128, 1, 1, 1) * scales(1, 64, 2, 2)
    check(kernels, form, bits, tmp_path, 17)


def test_sums_of_signs_with_numbers_of_columns(tmp_path: Path) -> None:
    columns = draw(np.array([0.5, 23 / 32, 1, 2], np.float32), 1, 256)
    check(sums(128, 256, 2) * columns, "columns, 2 planes a row", 2.7, tmp_path)


def test_no_columns_where_there_is_nothing_of_the_kind() -> None:
    assert find_columns(normal(200, 100)) is None
    assert find_columns(signs(64, 64) * scales(64, 1)) is None  # all columns alike
    odd = signs(64, 64) * scales(64, 1) * scales(1, 64)
    odd[3, 5] *= np.float32(1.0001)
    assert find_columns(odd) is None
    odd[3, 5] = np.inf
    assert find_columns(odd) is None


def test_values_that_differ_in_the_last_bit_are_not_sums() -> None:
    weight = sums(64, 200, 2)
    weight[7, weight[7] == weight[7].max()] *= np.float32(1.00001)
    found = find_tables(weight, 0)
    assert found is not None
    assert found.planes == 0


@pytest.mark.parametrize(("count", "each"), [(3, 1.6), (5, 2.67), (6, 2.67)])
def test_counts_that_are_no_powers_of_two_share_words(
    count: int, each: float, tmp_path: Path
) -> None:
    check(draw(normal(count), 601, 401), f"palette, {each:g} bits", each + 0.02, tmp_path)
    assert digits(np.zeros(99, np.int64), 1 << 2) is None


def test_what_two_weights_are_made_with_is_in_a_file_once(tmp_path: Path) -> None:
    sizes, nodes = [], []
    for count in (1, 2, 3):
        b = Builder()
        x = b.input("x", ["n", 64])
        for at in range(count):
            w = b.const(draw(normal(2), 64, 64, seed=at) * np.float32(1 + at), f"w{at}")
            x = b.op("MatMul", x, w, to="y" if at == count - 1 else f"h{at}")
        b.output("y", ["n", 64])
        ran = packed(b.model(), tmp_path / "p.onnx")
        assert ran.outcome.counts["weights packed"] == count
        want, got = (Session(m).run(feeds(ran.before))["y"] for m in (ran.before, ran.after))
        assert want.tobytes() == got.tobytes()
        written = onnx.load(tmp_path / "p.onnx").graph
        nodes.append([n.op_type for n in written.node])
        sizes.append((tmp_path / "p.onnx").stat().st_size)
    assert all(ops.count("Range") == 1 for ops in nodes)  # the fields of all bytes
    assert nodes[2].count("Gather") - nodes[1].count("Gather") == 2
    assert sizes[2] - sizes[1] < 64 * 64 / 8 + 600


def in_common_words(shape: tuple[int, ...], scaled: bool, seed: int) -> np.ndarray:
    """Draw a weight of 64 words of 9 values, the same ones for every seed."""
    words = np.random.default_rng(7).integers(-127, 128, (64, 9)).astype(np.float32)
    words[:, 0] = 1  # so that no word is a multiple of another
    blocks = int(np.prod(shape)) // 9
    weight = words[np.random.default_rng(seed).integers(0, 64, blocks)].reshape(shape)
    if scaled:
        return np.asarray(weight * scales(shape[0], *(1 for _ in shape[1:])) / 128)
    return weight


@pytest.mark.parametrize("scaled", [False, True])
def test_words_that_weights_have_in_common_are_in_a_file_once(scaled: bool, tmp_path: Path) -> None:
    sizes = []
    for count in (2, 3):
        b = Builder()
        x = b.input("x", ["n", 36, 4, 4])
        for at in range(count):
            w = b.const(in_common_words((36, 36, 3, 3), scaled, at), f"w{at}")
            to = "y" if at == count - 1 else f"h{at}"
            x = b.op("Conv", x, w, to=to, kernel_shape=[3, 3], pads=[1, 1, 1, 1])
        b.output("y", ["n", 36, 4, 4])
        ran = packed(b.model(), tmp_path / "p.onnx")
        want, got = (Session(m).run(feeds(ran.before))["y"] for m in (ran.before, ran.after))
        assert want.tobytes() == got.tobytes()
        written = onnx.load(tmp_path / "p.onnx").graph
        tables = [t for t in written.initializer if list(t.dims) == [64, 9]]
        assert len(tables) == 1
        assert tables[0].data_type == onnx.TensorProto.INT8
        sizes.append((tmp_path / "p.onnx").stat().st_size)
    codes = 36 * 36 * 6 // 8
    assert sizes[1] - sizes[0] < codes + 2 * 36 + 1000


def test_a_weight_with_few_of_the_words_takes_the_table_of_the_others() -> None:
    arrays = [in_common_words((48, 48, 3, 3), True, at) for at in range(2)]
    arrays.append(in_common_words((10, 10, 3, 3), True, 5))
    other = normal(20, 20, 3, 3)
    alone = [forms.smallest(a) for a in (*arrays, other)]
    together = with_common_words([*arrays, other], alone)
    assert sorted(together) == [0, 1, 2]
    assert all(together[at].nbytes < alone[at].nbytes for at in together)


def test_words_of_their_own_stay_by_themselves() -> None:
    arrays = []
    for seed in range(3):
        words = np.random.default_rng(seed).standard_normal((64, 9)).astype(np.float32)
        arrays.append(
            words[np.random.default_rng(9).integers(0, 64, 48 * 48)].reshape(48, 48, 3, 3)
        )
    assert not with_common_words(arrays, [forms.smallest(a) for a in arrays])


def test_words_in_one_unit_take_a_byte_a_number(tmp_path: Path) -> None:
    words = np.clip(np.rint(normal(200, 4) * 40), -127, 127) + 0
    weight = draw_words(words * np.float32(0.0123), (64, 64)).reshape(64, 256)
    form = forms.smallest(weight)
    assert form.name == "blocks of 4, 8 bits"
    assert form.nbytes < 64 * 64 + 200 * 4 + 600
    model = net(weight)
    packed(model, tmp_path / "p.onnx")
    same(model, tmp_path / "p.onnx")


def test_words_with_a_negative_zero_keep_it(tmp_path: Path) -> None:
    words = (np.clip(np.rint(normal(200, 4) * 40), 1, 127) * np.float32(0.0123)).astype(np.float32)
    words[3, 2] = -0.0
    weight = draw_words(words, (64, 64)).reshape(64, 256)
    model = net(weight)
    packed(model, tmp_path / "p.onnx")
    same(model, tmp_path / "p.onnx")


def draw_words(words: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    return np.asarray(words[np.random.default_rng(0).integers(0, len(words), shape)], np.float32)
