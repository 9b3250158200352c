"""Workers of a Dask cluster: a real scheduler and real processes on this machine."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from ocompress.errors import DataError, UsageError
from ocompress.workers import Parcel, open_workers
from tests.workers import calls

distributed = pytest.importorskip("distributed")
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A scheduler with two workers, one of which may measure time."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        options = {
            "cls": distributed.Nanny,
            "options": {"nthreads": 1, "memory_limit": 0, "dashboard": False},
        }
        timer = {**options, "options": {**options["options"], "resources": {"timer": 1}}}
        with distributed.SpecCluster(
            scheduler={"cls": distributed.Scheduler, "options": {"dashboard": False, "port": 0}},
            workers={"plain": options, "timer": timer},
        ) as cluster:
            yield cluster.scheduler_address


def test_calls_run_there_and_a_killed_worker_costs_only_its_call(
    address: str, tmp_path: Path
) -> None:
    (tmp_path / "m.onnx").write_bytes(b"model")
    parcel = Parcel.of(tmp_path / "m.onnx")
    with open_workers(scheduler=address) as pool:
        assert pool.count == 2
        killed = pool.submit(calls.die_once, str(tmp_path / "note"))
        others = [pool.submit(calls.double, n) for n in range(4)]
        assert [f.result() for f in others] == [0, 2, 4, 6]
        assert killed.result() == "done"
        path, content = pool.submit(calls.read, parcel).result()
        assert content == b"model"
        assert Path(path).parent != tmp_path
        with pytest.raises(DataError, match="3 is wrong"):
            pool.submit(calls.fail, 3).result()
        homes = {pool.submit(calls.process_of, n, timed=True).result() for n in range(4)}
        assert len(homes) == 1
        assert os.getpid() not in homes


def test_nobody_answers() -> None:
    with pytest.raises(UsageError, match="no scheduler answers"):
        open_workers(scheduler="tcp://127.0.0.1:9")
    for address in ("foo", "tcp://host", "host:8786"):
        with pytest.raises(UsageError, match="write one such as tcp://host:8786"):
            open_workers(scheduler=address)


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(UsageError, match=r"ocompress\[cluster\]"):
        open_workers(scheduler="tcp://127.0.0.1:1")


def test_it_is_imported_by_nobody_before_it_is_needed() -> None:
    code = "import sys, ocompress.workers, ocompress.front; sys.exit('distributed' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
