"""Plans whose models are built by workers: real processes, and a real Dask cluster."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ocompress
from ocompress.errors import DataError, OptionError
from ocompress.front import Budget, Planning, Request, optimize_planned
from ocompress.front.bench import Bench
from ocompress.front.choosing import Choice
from ocompress.front.team import Team, build_there, in_common, time_there
from ocompress.pipeline import Instrument
from ocompress.report import Optimization
from ocompress.workers import Parcel, open_workers
from tests.front.test_planning import DATA, net

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep what plans remember in a folder of the test, another one for each plan."""
    monkeypatch.setenv("OCOMPRESS_CACHE", str(tmp_path / "cache"))


class Killer(Instrument):
    """Kills a worker at the first plan that is better than the one before, as others are built."""

    def __init__(self, workers: Callable[[], Sequence[int]]) -> None:
        """Start with how workers are found."""
        self.workers = workers
        self.killed: list[int] = []

    def announce(self, sentence: str) -> None:
        """Kill one."""
        if "best so far" in sentence and not self.killed:
            self.killed.append(self.workers()[0])
            os.kill(self.killed[0], signal.SIGKILL)


def planned(
    folder: Path, name: str, hooks: Sequence[Instrument] = (), **how: Any
) -> tuple[Optimization, bytes]:
    request = Request(
        data=str(folder / "data.npy"),
        target="portable",
        budget=Budget(max_drop=0.05),
        cache=folder / name,  # nothing is known of the other's trials
    )
    planning = Planning(families=("channels", "int8"), **how)
    output = folder / f"{name}.onnx"
    done = optimize_planned(request, planning, net(), output, instruments=hooks)
    return done, output.read_bytes()


@pytest.fixture
def alone(tmp_path: Path) -> tuple[Optimization, bytes]:
    np.save(tmp_path / "data.npy", DATA)
    return planned(tmp_path, "alone")


def assert_same(one: tuple[Optimization, bytes], other: tuple[Optimization, bytes]) -> None:
    first, second = one[0].plan, other[0].plan
    assert first is not None
    assert second is not None
    assert second.recipe() == first.recipe()
    assert [_figures(t) for t in second.trials] == [_figures(t) for t in first.trials]
    assert other[1] == one[1]


def _figures(trial: ocompress.auto.PlanTrial) -> dict[str, Any]:
    return trial.to_json() | {"seconds": None}


def test_processes_find_the_same_plan_and_a_killed_one_costs_only_its_model(
    tmp_path: Path, alone: tuple[Optimization, bytes]
) -> None:
    killer = Killer(lambda: [child.pid or 0 for child in multiprocessing.active_children()])
    assert_same(alone, planned(tmp_path, "processes", [killer], workers=2))
    assert killer.killed


def test_a_cluster_finds_the_same_plan_and_a_killed_worker_costs_only_its_model(
    tmp_path: Path, alone: tuple[Optimization, bytes]
) -> None:
    distributed = pytest.importorskip("distributed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        options = {
            "cls": distributed.Nanny,
            "options": {"nthreads": 1, "memory_limit": 0, "dashboard": False},
        }
        with (
            distributed.SpecCluster(
                scheduler={
                    "cls": distributed.Scheduler,
                    "options": {"dashboard": False, "port": 0},
                },
                workers={0: options, 1: options},
            ) as cluster,
            distributed.Client(cluster, set_as_default=False) as client,
        ):
            killer = Killer(lambda: list(client.run(os.getpid).values()))
            found = planned(tmp_path, "cluster", [killer], scheduler=str(cluster.scheduler_address))
            assert killer.killed
    assert_same(alone, found)


def bench(data: Any = DATA, target: str = "host", path: Path | None = None) -> Bench:
    request = Request(data=data, target=target, budget=Budget(max_drop=0.05))
    return Bench(request, net(), path, (), lossy=True)


class Elsewhere:
    """Workers of another machine, in this process: they see nothing but what is sent."""

    count, here, timers = 1, False, 1

    def __init__(self) -> None:
        self.sent: list[tuple[Any, ...]] = []

    def submit(self, call: Callable[..., Any], *args: Any, **_: Any) -> Any:
        self.sent.append((call, *args))
        return open_workers().submit(call, *args)


def test_a_cluster_is_sent_files_and_times_models_where_that_is_allowed(tmp_path: Path) -> None:
    np.save(tmp_path / "data.npy", DATA)
    planning, pool = Planning(families=("int8",)), Elsewhere()
    opened = bench(str(tmp_path / "data.npy"))
    team = Team(pool, opened, planning)  # type: ignore[arg-type]
    (chain,) = (c for c in [ocompress.auto.Chain()])
    made = team.begin(chain, 100).result()
    expected = Choice(opened, planning).workshop(()).build(chain)
    assert made.key == expected.key
    assert made.trial == expected.trial
    call, *_ = pool.sent[-1]
    assert call is build_there
    parcels = [arg for arg in pool.sent[-1] if isinstance(arg, Parcel)]
    assert [p.main for p in parcels] == ["errand.pickle", "model.onnx", "data.npy"]
    assert str(tmp_path).encode() not in parcels[0].files[0][1]
    clock = team.clock(lambda _: None)
    assert clock is not None
    ratio = clock(made.model)
    assert ratio is not None
    assert ratio > 0
    assert pool.sent[-1][0] is time_there
    pool.timers = 0
    clock = team.clock(lambda model: float(len(model.graph.nodes)))
    assert clock is not None
    assert clock(made.model) == 3  # timed here


def test_workers_of_this_machine_keep_what_they_measure_for_each_other(tmp_path: Path) -> None:
    class Here(Elsewhere):
        here = True

    np.save(tmp_path / "data.npy", DATA)
    opened, pool = bench(str(tmp_path / "data.npy")), Here()
    team = Team(pool, opened, Planning(families=("channels",)))  # type: ignore[arg-type]
    family = next(f for f in ocompress.auto.FAMILIES if f.name == "channels")
    team.begin(ocompress.auto.Chain.of([ocompress.auto.Step(family, 0.5)]), 100).result()
    folder = pickle.loads(Path(pool.sent[-1][-1]).read_bytes()).measured
    assert list(folder.glob("*.npz"))


@pytest.mark.parametrize(
    ("text", "main", "rest"),
    [
        ("", "", []),
        ("quant", "quant", [""]),
        ("prune-channels,quant", "prune-channels", [""]),
        ("prune-channels,factorize", "prune-channels{max_time=0.5},factorize", ["…"]),
    ],
)
def test_chains_that_begin_alike_have_that_in_common(text: str, main: str, rest: list[str]) -> None:
    families = {f.item: f for f in reversed(ocompress.auto.FAMILIES)}
    steps = [families[item] for item in text.split(",") if item]
    chain = ocompress.auto.Chain.of(ocompress.auto.Step(f, 0.5 if f.opens else None) for f in steps)
    found = in_common(chain)
    assert found[0] == main
    assert found[1:] == ["prune-channels{max_time=0.5}" if r == "…" else r for r in rest]


def test_what_cannot_be_sent_is_said() -> None:
    class Local(list[Any]):
        def __reduce__(self) -> Any:
            msg = "it holds a lock"
            raise TypeError(msg)

    opened = bench(Local([{"x": DATA}]))
    with pytest.raises(DataError, match=r"cannot be sent to workers \(it holds a lock\); give"):
        Team(open_workers(), opened, Planning())


def test_workers_are_for_plans() -> None:
    with pytest.raises(OptionError, match="workers is for plans; give auto=True"):
        ocompress.optimize(net(), passes="quant", data=DATA, workers=2)
    with pytest.raises(OptionError, match="workers 0 must be 1 or more"):
        ocompress.optimize(net(), auto=True, data=DATA, workers=0)
    with pytest.raises(OptionError, match="contradicts --scheduler"):
        ocompress.optimize(net(), auto=True, data=DATA, workers=2, scheduler="tcp://a:1")
