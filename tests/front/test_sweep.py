"""`ocompress.sweep`: files of jobs, and what comes of them."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import ocompress
from ocompress.errors import RecipeError
from ocompress.front.sweep_file import read_jobs
from ocompress.front.sweeping import run_job
from ocompress.report import tables_sweep, webpage
from ocompress.workers import Parcel
from tests.graphs import ZOO


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder with two models and data."""
    for name in ("a", "b"):
        ocompress.save(ZOO["mlp"](), tmp_path / f"{name}.onnx")
    rows = np.random.default_rng(0).standard_normal((40, 16)).astype(np.float32)
    np.savez(tmp_path / "d.npz", x=rows)
    return tmp_path


def written(home: Path, text: str) -> Path:
    path = home / "jobs.toml"
    path.write_text(text)
    return path


def test_lists_are_one_job_for_each_combination(home: Path) -> None:
    jobs = read_jobs(written(home, """
        [defaults]
        data = "d.npz"
        [[job]]
        model = "?.onnx"
        passes = ["quant", "prune"]
        max_drop = [0.01, "2%"]
        output = "{model}-{passes}-{max_drop}.onnx"
        [[job]]
        model = "a.onnx"
        target = "arm64"
    """))  # fmt: skip
    assert len(jobs) == 9
    assert [job.number for job in jobs] == list(range(1, 10))
    assert Path(jobs[1].options["output"]).name == "a-quant-2.onnx"
    assert jobs[0].options["data"] == str(home / "d.npz")
    assert set(jobs[0].varied) == {"model", "passes", "max_drop"}
    assert [job.is_timed for job in jobs[-2:]] == [True, False]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("nonsense", "cannot be read: Expected"),
        ("[defaults]\nseed = 1", r"one or more \[\[job\]\]"),
        ("other = 1\n[[job]]\nmodel = 'a.onnx'", "unknown entry 'other'"),
        ("[[job]]\npasses = 'quant'", "names no model"),
        ("[[job]]\nmodel = 'c.onnx'", "no file 'c.onnx'"),
        ("[[job]]\nmodel = ''", "names no model"),
        ("[[job]]\nmodel = [1]", "no name of a file"),
        ("[[job]]\nmodel = 'a.onnx'\npases = 'quant'", "did you mean 'passes'"),
        ("[[job]]\nmodel = 'a.onnx'\nseed = []", "empty list"),
        ("[[job]]\nmodel = '?.onnx'\noutput = 'o.onnx'", r"jobs 1 and 2 both write.*\{model\}"),
        ("[[job]]\nmodel = 'a.onnx'\noutput = '{name}.onnx'", "may hold {number}, {model}"),
        ("[[job]]\nmodel = 'a.onnx'\noutput = '{model.x}.onnx'", "may hold {number}, {model}"),
        ("[[job]]\nmodel = 'a.onnx'\noutput = '{model[x]}.onnx'", "may hold {number}, {model}"),
        ("[[job]]\nmodel = 'a.onnx'\noutput = '{number:>99999999999999}'", "may hold {number}"),
        ("[[job]]\nmodel = 'a.onnx'\noutput = 5", "output 5 is no name of a file"),
        ("[[job]]\nmodel = '?.onnx'\noutput = 'b.onnx'", "job 1 writes 'b.onnx', the model of"),
        ("[[job]]\nmodel = '**a.onnx'", r"no file '\*\*a.onnx'"),
        (f"[[job]]\nmodel = '{'a' * 300}'", "no file 'aaa"),
        (f"[[job]]\nmodel = 'a.onnx'\nseed = {[*range(200)]}\nbatch = {[*range(1, 101)]}", "10000"),
        ("job = 3", r"one or more \[\[job\]\]"),
    ],
)
def test_wrong_files(home: Path, text: str, why: str) -> None:
    with pytest.raises(RecipeError, match=why):
        read_jobs(written(home, text))
    with pytest.raises(RecipeError, match=r"cannot be read: No such file or directory$"):
        read_jobs(home / "missing.toml")


TEXT = """
    [defaults]
    data = "d.npz"
    measure = false
    passes = "prune{sparsity=0.5}"
    output = "{model}-{number}.onnx"
    [[job]]
    model = "?.onnx"
    [[job]]
    model = "a.onnx"
    max_size = [0.01, "nonsense"]
"""


@pytest.mark.parametrize("workers", [1, 2])
def test_a_job_that_fails_stops_no_other(home: Path, workers: int) -> None:
    told: list[int] = []
    found = ocompress.sweep(
        written(home, TEXT), workers=workers, progress=lambda done, *_: told.append(done)
    )
    assert told == [1, 2, 3, 4]
    assert [row.code for row in found.rows] == [0, 0, 1, 2]
    assert found.code == 2
    assert found.summary == "2 of 4 jobs within their limits, 1 beyond, 1 failed"
    assert "more than 0.01 times" in found.rows[2].why
    assert "nonsense" in found.rows[3].why
    assert found.rows[0].lost is not None
    files = [(home / name).read_bytes() for name in ("a-1.onnx", "b-2.onnx")]
    assert files[0] == files[1]  # the models are the same, wherever they were made
    assert not (home / "a-4.onnx").exists()


def test_a_job_that_travels_is_the_same(home: Path) -> None:
    job = read_jobs(written(home, TEXT))[0]
    row, none = run_job(job)
    assert not none
    there = Parcel.of(home / "a.onnx"), Parcel.of(home / "d.npz")
    again, files = run_job(job, ["model", "data"], *there)
    assert files == {"a-1.onnx": (home / "a-1.onnx").read_bytes()}
    assert (again.code, again.lost, again.bytes) == (row.code, row.lost, row.bytes)
    assert again.model == row.model


def test_the_table_has_a_row_for_each_job_and_bars_beside_their_numbers(home: Path) -> None:
    page = webpage("sweep", tables_sweep.sweep(ocompress.sweep(written(home, TEXT))))
    head = page[page.index("<thead>") : page.index("</thead>")]
    heads = re.findall(r"<th([^>]*)>([^<]*)</th>", head)
    assert [name for _, name in heads[:5]] == ["#", "model", "max_size", "ends", "size"]
    assert [name for _, name in heads[5:]] == ["ratio", "latency", "lost", "s"]
    assert "colspan" in heads[5][0]  # over the number and its bar
    assert "1 beyond, 1 failed" in page
    assert "job 3: the result has" in page
