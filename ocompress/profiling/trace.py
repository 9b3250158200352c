"""Time per operator and per layer, from ONNX Runtime's own trace."""

from __future__ import annotations

import bisect
import itertools
import json
import re
import statistics
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ocompress.errors import RuntimeFailureError
from ocompress.io.dataset import Feeds
from ocompress.ir import Model, Node
from ocompress.ir.names import Names
from ocompress.profiling.result import TimeShare
from ocompress.runtime import Session
from ocompress.stopping import temporary_folder

_KERNEL = "_kernel_time"
_RENAMED = re.compile(
    r"^fused |(_nchwc|_quant|_quantized|_dq|_q|/duplicated|_token_\d+|_fused"
    r"|[/_]\w*[Ff]usion\w*/?)$"
)
"""What ONNX Runtime adds to the name of a node that it fused, lowered or moved."""
_ADDED = "(added by ONNX Runtime)"
WARMUP = 2
_MOST_FUSED = 4
_APART = 0.1

Event = Mapping[str, Any]
_Times = dict[tuple[str, str], list[list[float]]]
"""Microseconds of the calls in each run, by name and operator."""


class Profiled:
    """A model under ONNX Runtime's profiler, loaded once however many turns it gets.

    What runs is a clone whose nodes have names of their own: ONNX Runtime numbers nodes without
    one as it likes, and nodes of one name cannot be told apart.
    """

    def __init__(self, model: Model, feeds: Feeds, threads: int, prefix: Path) -> None:
        """Load the model.

        Args:
            model: The model; not changed.
            feeds: One call of it.
            threads: Threads within an operator; 0 takes all cores.
            prefix: Of the file of the trace; a folder of its own is best.

        Raises:
            RuntimeFailureError: If it cannot be loaded.
        """
        named = model.clone()
        for node, name in _unique_names(named).items():
            node.name = name
        wanted = {v.name for v in model.graph.inputs}
        self._given = {n: a for n, a in feeds.items() if n in wanted}
        self._session = Session(named, threads=threads, profile_to=prefix, as_deployed=True)
        self._turns: list[int] = []

    def turn(self, runs: int) -> None:
        """Run it so often, beside two runs for warming up, which `shares` leaves out.

        Raises:
            RuntimeFailureError: If it fails.
        """
        for _ in range(runs + WARMUP):
            self._session.run(self._given)
        self._turns.append(runs + WARMUP)

    def traces(self) -> list[list[Event]]:
        """End the trace, and return the events of each turn.

        Raises:
            RuntimeFailureError: If the trace is not whole.
        """
        file = self._session.end_profiling()
        events = sorted(_read(file), key=lambda e: float(e["ts"]))
        starts = [start for start, _ in _spans(events)]
        if len(starts) != sum(self._turns):
            raise _not_whole(file)
        times = [e["ts"] for e in events]
        firsts = [starts[at] for at in itertools.accumulate(self._turns[:-1], initial=0)]
        cuts = [*(bisect.bisect_left(times, first) for first in firsts), len(events)]
        return [events[a:b] for a, b in itertools.pairwise(cuts)]


def trace(model: Model, feeds: Feeds, threads: int, runs: int) -> list[Event]:
    """Run a model under ONNX Runtime's profiler and return the events of its trace.

    Args:
        model: The model.
        feeds: One call of it.
        threads: Threads within an operator; 0 takes all cores.
        runs: Runs beside two for warming up.

    Raises:
        RuntimeFailureError: If the model fails or the trace is not whole.
    """
    with temporary_folder() as folder:
        profiled = Profiled(model, feeds, threads, folder / "trace")
        profiled.turn(runs)
        (events,) = profiled.traces()
    return events


def shares(
    events: Sequence[Event], model: Model
) -> tuple[tuple[TimeShare, ...], tuple[TimeShare, ...]]:
    """Add a trace up by operator and by layer, medians over the runs, largest first.

    A node of control flow counts without the nodes of its bodies. Kernels are named after the
    layer they came from where ONNX Runtime's names allow; those that it added itself (layout
    changes, casts) share one line.

    Args:
        events: As `trace` returns them.
        model: The model that ran, for the names of its layers.
    """
    runs = _runs(events)
    starts = [start for start, _ in runs]
    known = _layers(model)
    by_op: _Times = defaultdict(lambda: [[] for _ in runs])
    by_layer: _Times = defaultdict(lambda: [[] for _ in runs])
    for event, own in _own_time(_kernels(events)):
        at = bisect.bisect_right(starts, event["ts"]) - 1
        if at < 0 or event["ts"] >= runs[at][1]:
            continue
        node, op_type = _origin(event, known)
        by_op[op_type, op_type][at].append(own)
        by_layer[_ADDED if node is None else node.label, op_type][at].append(own)
    return _table(by_op), _table(by_layer)


def parting(by_layer: Sequence[TimeShare], p50_ms: float) -> str:
    """Say in one sentence why layers do not add up to the latency, empty if they about do.

    Args:
        by_layer: The layers' times.
        p50_ms: Median latency of a run without the profiler, milliseconds.
    """
    total = sum(row.ms for row in by_layer)
    if not by_layer or abs(total - p50_ms) <= _APART * p50_ms:
        return ""
    why = (
        "the profiler adds to each node's time, and operators that run in parallel count each"
        if total > p50_ms
        else "time between nodes, before the first and after the last is in no node"
    )
    return f"the layers add up to {total:.3f} ms, the latency p50 is {p50_ms:.3f} ms: {why}"


def kernel_times(
    events: Sequence[Event], model: Model
) -> tuple[list[tuple[Node | None, str, float]], int]:
    """Return the kernels of a trace, without the runs that warm up.

    Args:
        events: As `trace` returns them.
        model: The model that ran.

    Returns:
        For each call of a kernel the node it came from (None for what ONNX Runtime added itself),
        its operator, and its microseconds without those of kernels inside it; and the number of
        runs that count.
    """
    counted = _runs(events)
    if not counted:
        return [], 0
    known = _layers(model)
    kernels = [e for e in _kernels(events) if e["ts"] >= counted[0][0]]
    found = [(*_origin(event, known), own) for event, own in _own_time(kernels)]
    return found, len(counted)


def _read(file: Path) -> Iterator[Event]:
    """Yield what matters of the events in a file, which has each on a line of its own."""
    with file.open(encoding="utf-8") as lines:
        line = next(lines, "")
        for line in lines:
            if line.startswith("{"):
                try:
                    event = json.loads(line.rstrip().rstrip(","))
                except json.JSONDecodeError as error:
                    raise _not_whole(file) from error
                args = {"op_name": event["args"].get("op_name", "")}
                yield {key: event[key] for key in ("cat", "name", "ts", "dur")} | {"args": args}
        if line.strip() != "]":
            raise _not_whole(file)


def _not_whole(file: Path) -> RuntimeFailureError:
    where = str(file.parent)
    return RuntimeFailureError(
        f"ONNX Runtime could not write its profile to {where!r}; is the disk full?"
    )


def _runs(events: Sequence[Event]) -> list[tuple[float, float]]:
    """Return start and end of the runs that count, in order."""
    spans = _spans(events)
    return spans[min(WARMUP, len(spans) - 1) :] if spans else []


def _spans(events: Sequence[Event]) -> list[tuple[float, float]]:
    """Return start and end of all runs, in order."""
    return sorted((e["ts"], e["ts"] + e["dur"]) for e in events if e.get("name") == "model_run")


def _kernels(events: Sequence[Event]) -> list[Event]:
    return [e for e in events if e.get("cat") == "Node" and e["name"].endswith(_KERNEL)]


def _origin(event: Event, known: Mapping[str, Node]) -> tuple[Node | None, str]:
    """Return the node that a kernel came from, and its operator."""
    op_type = str(event["args"].get("op_name", ""))
    return _layer(event["name"].removesuffix(_KERNEL), op_type, known), op_type


def _own_time(events: Iterable[Event]) -> list[tuple[Event, float]]:
    """Return each event with its microseconds less those of the events inside it."""
    ordered = sorted(events, key=lambda e: (e["ts"], -e["dur"]))
    own = [float(e["dur"]) for e in ordered]
    open_: list[int] = []
    for index, event in enumerate(ordered):
        while open_ and not _inside(event, ordered[open_[-1]]):
            open_.pop()
        if open_:
            own[open_[-1]] -= event["dur"]
        open_.append(index)
    return [(e, max(t, 0.0)) for e, t in zip(ordered, own, strict=True)]


def _inside(inner: Event, outer: Event) -> bool:
    flow = outer["args"].get("op_name") in {"If", "Loop", "Scan", "SequenceMap"}
    return flow and bool(inner["ts"] + inner["dur"] <= outer["ts"] + outer["dur"])


def _unique_names(model: Model) -> dict[Node, str]:
    """Return a name of its own for every node: its label, numbered if it is taken."""
    names = Names()
    return {node: names.fresh(node.label) for _, node in model.nodes()}


def _layers(model: Model) -> dict[str, Node]:
    """Return the node that each name stands for: its own, or that of a value it makes."""
    known: dict[str, Node] = {}
    for _, node in model.nodes():
        for value in node.outputs:
            if value is not None:
                known.setdefault(value.name, node)
    known.update((name, node) for node, name in _unique_names(model).items())
    return known


def _layer(name: str, op_type: str, known: Mapping[str, Node]) -> Node | None:
    while name not in known:
        shorter = _RENAMED.sub("", name)
        if shorter == name:
            return None
        name = shorter
    return _main_node(known[name], op_type)


def _main_node(node: Node, op_type: str) -> Node:
    """Return the node that does the work of a fused kernel, which is named after its last one."""
    at = node
    for _ in range(_MOST_FUSED):
        if op_type.endswith(at.op_type):
            return at
        first = at.input(0)
        if first is None or first.producer is None:
            break
        at = first.producer
    return node


def _table(times: _Times) -> tuple[TimeShare, ...]:
    found = {
        key: statistics.median(sum(calls) for calls in runs) / 1000 for key, runs in times.items()
    }
    total = sum(found.values())
    rows = [
        TimeShare(
            name,
            op,
            statistics.fmean(len(calls) for calls in times[name, op]),
            ms,
            ms / total if total else 0.0,
        )
        for (name, op), ms in found.items()
    ]
    return tuple(sorted(rows, key=lambda r: (-r.ms, r.name, r.op_type)))
