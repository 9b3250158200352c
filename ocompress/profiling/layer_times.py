"""Times of single layers of several models, measured in turns."""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from collections.abc import Sequence

from ocompress.io.dataset import Feeds
from ocompress.ir import Model, Node
from ocompress.profiling.trace import WARMUP, Event, Profiled, kernel_times
from ocompress.stopping import temporary_folder

_FEWEST, _MOST = 3, 200


def time_layers(
    models: Sequence[Model],
    feeds: Feeds,
    *,
    threads: int = 1,
    rounds: int = 5,
    seconds: float = 0.3,
    taken: float = 0.0,
) -> list[dict[Node | None, float]]:
    """Return for each model the nanoseconds that each of its nodes takes in one run.

    The models run in turns, and of each layer the median over the turns counts, so that a
    machine that is busy for a moment does not decide. A node whose work another one's kernel
    does has no entry. What ONNX Runtime adds itself, such as changes of layout, is under None.

    Args:
        models: The models; their nodes need no names.
        feeds: One call.
        threads: Threads within an operator; 0 takes all cores.
        rounds: Turns of each model.
        seconds: Time of a turn, about.
        taken: Nanoseconds that the profiler itself takes for a kernel, at most; as many as the
            quickest kernel takes are left out of each.

    Raises:
        RuntimeFailureError: If a model cannot be run.
    """
    found: list[dict[Node | None, list[float]]] = [defaultdict(list) for _ in models]
    loaded, runs = list[Profiled](), list[int]()
    with temporary_folder() as folder:
        for index, model in enumerate(models):
            start = time.perf_counter()
            loaded.append(Profiled(model, feeds, threads, folder / f"trace{index}"))
            loaded[-1].turn(_FEWEST)  # to learn how long a run takes; not counted
            # with its part of loading: what runs in no time would leave a trace without end
            once = (time.perf_counter() - start) / (_FEWEST + WARMUP)
            runs.append(int(min(_MOST, max(_FEWEST, seconds / max(once, 1e-6)))))
        for _ in range(rounds):
            for profiled, number in zip(loaded, runs, strict=True):
                profiled.turn(number)
        for model, profiled, times in zip(models, loaded, found, strict=True):
            _, *turns = profiled.traces()
            for events in turns:
                _add(times, events, model, taken)
    return [{node: statistics.median(t) for node, t in one.items()} for one in found]


def _add(
    times: dict[Node | None, list[float]], events: Sequence[Event], model: Model, taken: float
) -> None:
    """Add what each node took in one turn, nanoseconds, to what it took in others."""
    kernels, counted = kernel_times(events, model)
    total: dict[Node | None, float] = defaultdict(float)
    calls: dict[Node | None, float] = defaultdict(float)
    for node, _, microseconds in kernels:
        total[node] += microseconds * 1e3 / counted
        calls[node] += 1 / counted
    beside = min([taken, *(spent / calls[node] for node, spent in total.items())])
    for node, spent in total.items():
        times[node].append(spent - beside * calls[node])
