from __future__ import annotations

import hashlib
import importlib.util
import io
import math
import tempfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from ocompress.archive import Archive, Piece, SourceFile, is_archive, nodes, write_archive
from ocompress.archive.cuts import inside
from ocompress.archive.wire import stored_tensors
from ocompress.archive.writer import END, MAGIC, trailer
from ocompress.coding import tables
from ocompress.coding.engine import forced
from ocompress.coding.octets import decode_bytes, encode_bytes
from ocompress.coding.varint import varint
from ocompress.errors import InvalidModelError, UnsupportedModelError
from tests.archive.samples import small_model, tiny_model
from tests.graphs import protos

PROTOS = protos()


def packed(content: bytes) -> bytes:
    view = memoryview(content)
    stream = io.BytesIO()
    write_archive(stream, [SourceFile("m.onnx", view, inside(stored_tensors(view)))])
    return stream.getvalue()


def opened(content: bytes, folder: Path) -> Archive:
    path = folder / "a.ocz"
    path.write_bytes(content)
    return Archive(path)


def first_file(archive: Archive) -> bytes:
    stream = io.BytesIO()
    archive.write_file(archive.files[0], stream)
    return stream.getvalue()


@pytest.mark.parametrize("name", PROTOS)
def test_every_model_of_the_zoo_comes_back(name: str, tmp_path: Path) -> None:
    content = PROTOS[name].SerializeToString()
    code = packed(content)
    assert first_file(opened(code, tmp_path)) == content
    assert is_archive(tmp_path / "a.ocz")


def test_unknown_fields_and_odd_orders_come_back(tmp_path: Path) -> None:
    odd = small_model() + b"\xfa\x7f\x03abc" + small_model(1)  # fields repeat and are unknown
    archive = opened(packed(odd), tmp_path)
    assert first_file(archive) == odd
    assert sum(len(pieces) for _, pieces in archive.tensors) == 6


@pytest.mark.parametrize("dtype", [TensorProto.FLOAT, TensorProto.INT4, TensorProto.INT64, 77])
@pytest.mark.parametrize(("size", "dims"), [(103, [5, 5]), (1717, [101, 34]), (400, [-1, 100])])
def test_tensors_whose_bytes_do_not_fit_come_back(
    dtype: int, size: int, dims: list[int], tmp_path: Path
) -> None:
    raw = np.random.default_rng(0).integers(0, 9, size, np.uint8).tobytes()
    tensor = TensorProto(name="w", dims=dims, data_type=dtype, raw_data=raw)
    graph = helper.make_graph([], "g", [], [], [tensor])
    content = helper.make_model(graph).SerializeToString()
    archive = opened(packed(content), tmp_path)
    assert first_file(archive) == content
    assert archive.tensor("w") == raw


@settings(max_examples=12, deadline=None, derandomize=True)
@given(data=st.data())
def test_models_with_odd_bytes_come_back_or_are_refused(data: st.DataObject) -> None:
    content = bytearray(tiny_model())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        code = packed(bytes(content))
    except InvalidModelError:
        return
    with tempfile.TemporaryDirectory() as folder:
        assert first_file(opened(code, Path(folder))) == content


def test_the_bytes_are_the_same_every_time() -> None:
    assert packed(small_model()) == packed(small_model())


def test_one_tensor_is_read_without_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = packed(small_model())
    archive = opened(code, tmp_path)
    decoded: list[int] = []
    piece = Archive.piece

    def noted(archive: Archive, wanted: Piece) -> bytes:
        decoded.append(wanted.at)
        return piece(archive, wanted)

    monkeypatch.setattr(Archive, "piece", noted)
    content = archive.tensor("q")
    assert len(content) == 120
    assert content in small_model()
    assert len(decoded) == 2  # what is no tensor, and this one
    with pytest.raises(KeyError):
        archive.tensor("unknown")


def test_every_flipped_bit_is_noticed(tmp_path: Path) -> None:
    code = packed(tiny_model())
    with forced(compiled=False):
        for at in range(len(code)):
            wrong = bytearray(code)
            wrong[at] ^= 1 << at % 8
            with pytest.raises(InvalidModelError):
                first_file(opened(bytes(wrong), tmp_path))


def test_every_truncation_is_noticed(tmp_path: Path) -> None:
    code = packed(tiny_model())
    for size in range(1, len(code)):
        with pytest.raises(InvalidModelError, match="archive"):
            opened(code[:size], tmp_path)
    with pytest.raises(InvalidModelError, match="archive"):
        opened(code + b"\0", tmp_path)


def made_up(*numbers: int | bytes, codes: bytes = b"") -> bytes:
    """Return an archive with an index of our own, all of whose checksums are right."""
    parts = [varint(n) if isinstance(n, int) else n for n in numbers]
    return MAGIC + codes + trailer(b"".join(parts))


CHECK = zlib.crc32(b"").to_bytes(4, "little")
ZERO_CHECK = zlib.crc32(b"\0").to_bytes(4, "little")


def _masks(depth: int) -> bytes:
    """Return a tree that takes much work and no codes of its own: each node has two as large."""
    below = _masks(depth - 1) if depth else b"\7\0"
    return varint(nodes.MASK) + varint(1 << 14) + below + below


NAME, DIGEST = b"\x06m.onnx", bytes(32)
LIES = {
    "a newer version": made_up(2),
    "a base of which nothing is said": made_up(1, 2),
    "a change of nothing": made_up(
        1, 0, 0, 1, NAME, 4, DIGEST, 1, 0, 4, 4, 12, 0, 0, 0,
        zlib.crc32(b"abcd").to_bytes(4, "little"), codes=b"abcd"),
    "no files": made_up(1, 0, 0, 0),
    "absurd rest": made_up(1, 0, 1 << 47),
    "much rest": made_up(1, 0, 1 << 23),
    "many files": made_up(1, 0, 0, 1 << 40),
    "an absurd file": made_up(1, 0, 0, 1, NAME, 1 << 43, DIGEST, 0),
    "a name with a path": made_up(1, 0, 0, 1, b"\x04../x", 0, DIGEST, 0),
    "no name": made_up(1, 0, 0, 1, b"\x00", 0, DIGEST, 0),
    "a cut name": made_up(1, 0, 0, 1, b"\x7fx"),
    "sizes that do not add up": made_up(1, 0, 0, 1, NAME, 9, DIGEST, 0),
    "a piece outside": made_up(1, 0, 0, 1, NAME, 8, DIGEST, 1, 4, 8, 1, 0, CHECK),
    "an empty piece": made_up(1, 0, 0, 1, NAME, 8, DIGEST, 1, 0, 0, 1, 0, CHECK),
    "half an element": made_up(1, 0, 0, 1, NAME, 6, DIGEST, 1, 0, 6, 4, 0, CHECK),
    "an odd width": made_up(1, 0, 0, 1, NAME, 6, DIGEST, 1, 0, 6, 3, 0, CHECK),
    "codes past the end": made_up(1, 0, 0, 1, NAME, 8, DIGEST, 1, 0, 8, 1, 0, CHECK),
    "codes of nobody": made_up(1, 0, 0, 1, NAME, 0, DIGEST, 0, codes=b"?"),
    "an unknown codec": made_up(1, 0, 0, 1, NAME, 8, DIGEST, 1, 0, 8, 1, 99, CHECK),
    "more index": made_up(1, 0, 0, 1, NAME, 0, DIGEST, 0, 7),
    "a wrong digest": made_up(1, 0, 0, 1, NAME, 0, DIGEST, 0),
    "endless nesting": made_up(1, 0, 0, 1, NAME, 8, DIGEST, 1, 0, 8, 1, b"\x0a" * 400, CHECK),
    "rows of nothing": made_up(1, 0, 0, 1, NAME, 8, DIGEST, 1, 0, 8, 1, 3, 0, 1, 1, 0, 0, CHECK),
    "rows that do not fit": made_up(
        1, 0, 0, 1, NAME, 8, DIGEST, 1, 0, 8, 1, 3, 3, 1, 1, 0, 0, CHECK),
    "a code that is too short": made_up(
        1, 0, 0, 1, NAME, 1 << 20, DIGEST, 1, 0, 1 << 20, 1, 3, 1, 1, 1, 0, 0, CHECK),
    "bytes whose code is too short": made_up(
        1, 0, 0, 1, NAME, 1 << 20, DIGEST, 1, 0, 1 << 20, 1, 1, 0, 0, CHECK),
    "rows that are too long": made_up(
        1, 0, 0, 1, NAME, 1 << 21, DIGEST, 1, 0, 1 << 21, 1, 3, 1 << 21, 1, 1, 0, 99, CHECK),
    "a huge block": made_up(
        1, 0, 0, 1, NAME, 8, DIGEST, 1, 0, 8, 4, 4, 1, 2, 1 << 40, 0, 4, 0, 0, CHECK),
    "an empty mask": made_up(
        1, 0, 0, 1, NAME, 8, DIGEST, 1, 0, 8, 4, 6, 0, 3, 1, 1, 1, 0, 0, 0, CHECK),
    "a mask that keeps others": made_up(
        1, 0, 0, 1, NAME, 8, DIGEST, 1, 0, 8, 4, 6, 1, 0, 0,
        zlib.crc32(b"\1\1abcd").to_bytes(4, "little"), codes=b"\1\1abcd"),
    "an index past its palette": made_up(
        1, 0, 0, 1, NAME, 4, DIGEST, 1, 0, 4, 4, 5, 1, 0, 0,
        zlib.crc32(b"abcd\1\0").to_bytes(4, "little"), codes=b"abcd\1\0"),
    "an index past its book": made_up(
        1, 0, 0, 1, NAME, 4, DIGEST, 1, 0, 4, 4, 8, 1, 1, 0, 0,
        zlib.crc32(b"abcd\1\0").to_bytes(4, "little"), codes=b"abcd\1\0"),
    "integers one more than a byte of code can hold": made_up(
        1, 0, 0, 1, NAME, 16520, DIGEST, 1, 0, 16520, 1, 3, 1, 1, 1, 0, 1, ZERO_CHECK, codes=b"\0"),
    "bytes one more than a byte of code can hold": made_up(
        1, 0, 0, 1, NAME, 2066, DIGEST, 1, 0, 2066, 1, 1, 2, 1, ZERO_CHECK, codes=b"\0"),
    "integers without a code": made_up(
        1, 0, 0, 1, NAME, 4, DIGEST, 1, 0, 4, 1, 3, 1, 1, 1, 0, 0, CHECK),
    "masks of masks of masks": made_up(
        1, 0, 0, 1, NAME, 1 << 14, DIGEST, 1, 0, 1 << 14, 1, _masks(6), CHECK),
    "a piece above all": made_up(
        1, 0, 0, 1, NAME, 1 << 25, DIGEST, 1, 0, 1 << 25, 1, 7, 0, ZERO_CHECK, codes=b"\0"),
    "an endless number": made_up(b"\xff" * 12),
    "a wrong end": made_up(1, 0, 0, 0)[: -len(END)] + b"OCZ\x02",
}  # fmt: skip


@pytest.mark.parametrize("name", LIES)
def test_lies_are_refused(name: str, tmp_path: Path) -> None:
    wanted = UnsupportedModelError if name == "a newer version" else InvalidModelError
    with pytest.raises(wanted, match=r"a\.ocz") as raised:
        first_file(opened(LIES[name], tmp_path))
    assert "\n" not in str(raised.value)


def test_a_byte_of_code_holds_what_the_likeliest_bits_take() -> None:
    """Bits share what a range loses, eight bits for every byte; ranges have 24 bits at least."""
    squashes = tables.by_name()["squashes"][1:4096]
    rarest = min(int(min(squashes)), 65536 - int(max(squashes)))
    mixed, plain = (-math.log2(1 - least / 65536 + 2**-24) for least in (rarest, 48))
    assert math.ceil(8 / mixed) == nodes._INTEGERS_EACH
    assert tuple(math.ceil(1 / bits) for bits in (plain, plain, mixed)) == nodes.OCTETS_EACH
    size = len(encode_bytes(bytes(4000), 0))
    assert 100 < 4000 / size < nodes.OCTETS_EACH[0]


def test_nodes_are_counted() -> None:
    tree = b"\x0a" * 3 + b"\0"
    assert nodes.read(nodes.Numbers(tree, 4), 9, 1).arrays == 27
    with pytest.raises(InvalidModelError, match="more nodes"):
        nodes.read(nodes.Numbers(tree, 3), 9, 1)


def test_bombs_are_refused_unless_they_are_allowed(tmp_path: Path) -> None:
    pieces, rest = 65, bytes(2000)
    one = b"\0" + varint(1 << 24) + b"\1\7\0" + ZERO_CHECK
    size = len(rest) + (pieces << 24)
    bomb = made_up(
        1, 0, len(rest), 0, zlib.crc32(rest).to_bytes(4, "little"), 1, NAME, size, DIGEST, pieces,
        one * pieces, codes=rest + bytes(pieces),
    )  # fmt: skip
    with pytest.raises(UnsupportedModelError, match=r"1,090,521,040 bytes.* --max-size 1091MB"):
        opened(bomb, tmp_path)
    assert Archive(tmp_path / "a.ocz", most=2e9).size == size


def test_an_index_of_many_equal_pieces_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its code is a hundred times shorter than it is, as are those of twenty thousand pieces."""
    count = 600
    piece = b"\0\4\4\7\0" + zlib.crc32(bytes(4)).to_bytes(4, "little")
    digest = hashlib.sha256(bytes(4 * count)).digest()
    index = b"\1\0\0\1" + NAME + varint(4 * count) + digest + varint(count) + piece * count
    fixed = b"".join(n.to_bytes(4, "little") for n in (40, len(index), 3))
    end = bytes(40) + fixed + zlib.crc32(bytes(40) + fixed).to_bytes(4, "little") + END
    monkeypatch.setattr("ocompress.archive.index._SMALL", 0)
    monkeypatch.setattr("ocompress.archive.index.decode_bytes", lambda *_: index)
    assert first_file(opened(MAGIC + bytes(4 * count) + end, tmp_path)) == bytes(4 * count)


def test_codes_that_no_coder_writes_are_read_alike() -> None:
    """All ones are outside of the range that a coder begins with."""
    if not importlib.util.find_spec("numba"):
        pytest.skip("there is one way to run the kernels")
    found = []
    for compiled in (True, False):
        with forced(compiled=compiled):
            found.append(decode_bytes(b"\xff" * 40, 300, 2))
    assert found[0] == found[1]


def test_an_honest_index_of_our_own_is_read(tmp_path: Path) -> None:
    """The lies above differ from this one in what they say alone."""
    content = b"abcdabcd"
    honest = made_up(
        1, 0, 0, 1, NAME, 8, hashlib.sha256(content).digest(), 1, 0, 8, 1, 0,
        zlib.crc32(content).to_bytes(4, "little"), codes=content,
    )  # fmt: skip
    assert first_file(opened(honest, tmp_path)) == content


def test_what_was_read_of_a_large_file_is_let_go_of() -> None:
    content = np.zeros(1 << 21, np.uint8).tobytes()
    released: list[int] = []
    whole = [SourceFile("m.bin", memoryview(content), [], lambda: released.append(1))]
    assert whole[0].digest() == hashlib.sha256(content).digest()
    assert released
    released.clear()
    assert whole[0].read(5, 7) == content[5:12]
    assert not released  # it would cost more than it is worth
