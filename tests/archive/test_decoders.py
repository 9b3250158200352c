"""All decoders read the same archives: Python, what numba makes of it, and C."""

from __future__ import annotations

import importlib.util
import io
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto

from ocompress.archive import Archive, nodes
from ocompress.archive.index import _raw_index
from ocompress.archive.writer import trailer
from ocompress.coding.engine import forced
from ocompress.errors import ModelError, UsageError
from ocompress.io import pack_model
from tests.archive.golden import BASE, CHANGE, FOLDER, archive_of, model_of, opened
from tests.archive.samples import save_external, tiny_model
from tests.archive.test_archive import LIES

ROOT = Path(__file__).parents[2]
GOLDEN = sorted(FOLDER.glob("*.ocz"))
STRICT = ["-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror", f"-I{ROOT / 'decoder'}"]
SANITIZED = ["-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
SECONDS = 60


def built(folder: Path, source: Path, *flags: str) -> Path:
    """Compile a program with the decoder."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler")
    program = folder / source.stem
    sources = [str(source)]
    if '#include "ocz.c"' not in source.read_text():
        sources.append(str(ROOT / "decoder/ocz.c"))
    command = [compiler, *STRICT, *flags, *sources, "-o"]
    done = subprocess.run([*command, str(program)], capture_output=True, text=True, check=False)
    if "-fsanitize" in " ".join(flags) and "asan" in done.stderr:
        pytest.skip("the compiler has no sanitizers")
    assert done.returncode == 0, done.stderr
    return program


@pytest.fixture(scope="module")
def unocz(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(tmp_path_factory.mktemp("c"), ROOT / "decoder/unocz.c", "-O2")


@pytest.fixture(scope="module")
def checked_unocz(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(tmp_path_factory.mktemp("c"), ROOT / "decoder/unocz.c", *SANITIZED)


def call(program: Path, *words: object) -> subprocess.CompletedProcess[str]:
    line = [str(program), *map(str, words)]
    return subprocess.run(
        line, capture_output=True, text=True, errors="replace", timeout=SECONDS, check=False
    )


def in_python(archive: Path, *bases: Path) -> bytes:
    stream = io.BytesIO()
    found = Archive(archive, *map(Archive, bases)) if bases else opened(archive)
    found.write_file(found.files[0], stream)
    return stream.getvalue()


@pytest.mark.parametrize("archive", GOLDEN, ids=lambda p: p.stem)
def test_golden_archives_are_read(archive: Path, unocz: Path, tmp_path: Path) -> None:
    with forced(compiled=False):
        wanted = in_python(archive)
    ended = call(unocz, archive, tmp_path / "m.onnx", *([BASE] if archive == CHANGE else []))
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
    assert (tmp_path / "m.onnx").read_bytes() == wanted
    assert [p.name for p in tmp_path.iterdir()] == ["m.onnx"]
    if importlib.util.find_spec("numba"):
        with forced(compiled=True):
            assert in_python(archive) == wanted


@pytest.mark.skipif(not Path("/dev/stdin").exists(), reason="the system has no such file")
def test_archives_that_cannot_be_mapped_are_read(unocz: Path, tmp_path: Path) -> None:
    content = BASE.read_bytes()
    line = [str(unocz), "/dev/stdin", str(tmp_path / "m.onnx")]
    ended = subprocess.run(line, input=content, capture_output=True, timeout=SECONDS, check=False)
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert (tmp_path / "m.onnx").read_bytes() == in_python(BASE)


def test_golden_archives_have_every_codec() -> None:
    found: set[str] = set()
    for path in GOLDEN:
        for _, pieces in opened(path).tensors:
            for piece in pieces:
                found |= set(re.findall(r"\w+", piece.node.described()))
    assert found == set(nodes.NAMES)


@pytest.mark.parametrize("largest", [3, 1000, 1 << 20])
@pytest.mark.parametrize("common", [1, 200])
def test_integers_of_all_sizes_are_read(
    largest: int, common: int, unocz: Path, tmp_path: Path
) -> None:
    """Short and long unary codes, with steps that mix (small values) and steps that do not."""
    rng = np.random.default_rng(largest)
    values = rng.integers(-common, common + 1, (300, 24), np.int32)
    rare = rng.random(values.shape) < 5e-3
    values[rare] = rng.integers(-largest, largest, np.count_nonzero(rare))
    content = model_of(values, TensorProto.INT32, 24)
    (tmp_path / "a.ocz").write_bytes(archive_of(content))
    forms = [p.node.described() for _, ps in opened(tmp_path / "a.ocz").tensors for p in ps]
    assert any("integers" in form for form in forms)
    assert call(unocz, tmp_path / "a.ocz", tmp_path / "m.onnx").returncode == 0
    assert (tmp_path / "m.onnx").read_bytes() == content


def test_a_change_needs_the_archive_that_it_changes(unocz: Path, tmp_path: Path) -> None:
    assert CHANGE.stat().st_size < 0.7 * BASE.stat().st_size
    for base in ([], [FOLDER / "floats.ocz"]):
        ended = call(unocz, CHANGE, tmp_path / "m.onnx", *base)
        assert ended.returncode == 3
        assert "another archive" in ended.stderr
        with pytest.raises(UsageError, match="another archive"):
            Archive(CHANGE, *map(Archive, base))
    assert list(tmp_path.iterdir()) == []


def test_external_data_go_beside_the_model(unocz: Path, tmp_path: Path) -> None:
    import onnx

    save_external(str(tmp_path), onnx.load_from_string(tiny_model()), "m.onnx")
    pack_model(tmp_path / "m.onnx", tmp_path / "m.ocz")
    (tmp_path / "there").mkdir()
    assert call(unocz, tmp_path / "m.ocz", tmp_path / "there" / "n.onnx").returncode == 0
    for name, made in (("m.onnx", "n.onnx"), ("m.onnx.data", "m.onnx.data")):
        assert (tmp_path / "there" / made).read_bytes() == (tmp_path / name).read_bytes()


@pytest.mark.parametrize("name", LIES)
def test_lies_are_refused_by_c_too(name: str, checked_unocz: Path, tmp_path: Path) -> None:
    (tmp_path / "a.ocz").write_bytes(LIES[name])
    ended = call(checked_unocz, tmp_path / "a.ocz", tmp_path / "m.onnx")
    assert ended.returncode == 3, ended.stderr
    assert len(ended.stderr.splitlines()) == 1
    assert [p.name for p in tmp_path.iterdir()] == ["a.ocz"]


def test_every_flipped_bit_and_truncation_is_refused(tmp_path: Path) -> None:
    program = built(tmp_path, Path(__file__).with_name("mutants.c"), *SANITIZED)
    content = archive_of(tiny_model())
    (tmp_path / "a.ocz").write_bytes(content)
    ended = call(program, tmp_path / "a.ocz")
    assert ended.returncode == 0, ended.stderr
    assert int(ended.stdout) == 9 * len(content)


@pytest.fixture(scope="module")
def crafted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(tmp_path_factory.mktemp("c"), Path(__file__).with_name("crafted.c"), *SANITIZED)


@pytest.mark.parametrize("name", ["several-tensors", "cosines-by-column", "few-weights", "int4"])
def test_crafted_archives_are_refused_or_mean_the_same(name: str, crafted: Path) -> None:
    ended = call(crafted, FOLDER / f"{name}.ocz", 150, 7)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    cases, same = map(int, ended.stdout.split()[:2])
    assert cases == 150
    assert 0 < same < 75  # some changes mean nothing, most do


def test_a_bomb_is_not_unpacked_by_c_unless_it_is_allowed(unocz: Path, tmp_path: Path) -> None:
    content = archive_of(model_of(np.zeros(1 << 20, np.uint8), 2, 1))
    (tmp_path / "a.ocz").write_bytes(content)
    line = ("-m", 1, tmp_path / "a.ocz", tmp_path / "m.onnx")
    ended = call(unocz, *line)
    assert (ended.returncode, "-m MB" in ended.stderr) == (3, True)
    assert not (tmp_path / "m.onnx").exists()
    assert call(unocz, "-m", 2, *line[2:]).returncode == 0
    assert (tmp_path / "m.onnx").stat().st_size > 1 << 20
    for wrong in ("0", "x", "-1", "9" * 30):
        assert call(unocz, "-m", wrong, *line[2:]).returncode == 2


@settings(
    max_examples=20, deadline=None, derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)  # fmt: skip
@given(data=st.data())
def test_damaged_indexes_with_right_checksums_end_alike(
    data: st.DataObject, checked_unocz: Path, tmp_path: Path
) -> None:
    """No checksum helps here: what Python refuses C refuses, and what it takes is the same."""
    path = data.draw(st.sampled_from(GOLDEN))
    base = [BASE] if path == CHANGE else []
    content = path.read_bytes()
    index, begin = _raw_index(memoryview(content))
    damaged = bytearray(index)
    for _ in range(data.draw(st.integers(1, 3))):
        damaged[data.draw(st.integers(0, len(index) - 1))] = data.draw(st.integers(0, 255))
    (tmp_path / "a.ocz").write_bytes(content[:begin] + trailer(bytes(damaged)))
    (tmp_path / "m.onnx").unlink(missing_ok=True)
    ended = call(checked_unocz, tmp_path / "a.ocz", tmp_path / "m.onnx", *base)
    try:
        wanted = in_python(tmp_path / "a.ocz", *base)
    except (ModelError, UsageError):
        assert ended.returncode == 3, ended.stderr
    else:
        assert ended.returncode == 0, ended.stderr
        assert (tmp_path / "m.onnx").read_bytes() == wanted
