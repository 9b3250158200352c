"""Time per operator and per layer, from ONNX Runtime's own trace."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ocompress.errors import RuntimeFailureError
from ocompress.io.dataset import Feeds
from ocompress.ir import Model, Node
from ocompress.ir.names import Names
from ocompress.profiling.result import TimeShare
from ocompress.runtime import Level, Session
from ocompress.stopping import temporary_folder

_KERNEL = "_kernel_time"
_RENAMED = re.compile(
    r"^fused |(_nchwc|_quant|_quantized|_dq|_q|/duplicated|_token_\d+|_fused"
    r"|[/_]\w*[Ff]usion\w*/?)$"
)
"""What ONNX Runtime adds to the name of a node that it fused, lowered or moved."""
_ADDED = "(added by ONNX Runtime)"
_WARMUP = 2
_MOST_FUSED = 4

Event = Mapping[str, Any]


def trace(model: Model, feeds: Feeds, threads: int, runs: int) -> list[Event]:
    """Run a model under ONNX Runtime's profiler and return the events of its trace.

    What runs is a clone whose nodes have names of their own: ONNX Runtime numbers nodes without
    one as it likes, and nodes of one name cannot be told apart.

    Args:
        model: The model.
        feeds: One call of it.
        threads: Threads within an operator; 0 takes all cores.
        runs: Runs beside two for warming up, which `shares` leaves out.

    Raises:
        RuntimeFailureError: If the model fails or the trace is not whole.
    """
    wanted = {v.name for v in model.graph.inputs}
    given = {n: a for n, a in feeds.items() if n in wanted}
    named = model.clone()
    for node, name in _unique_names(named).items():
        node.name = name
    with temporary_folder() as folder:
        session = Session(named, threads=threads, level=Level.ALL, profile_to=folder / "trace")
        for _ in range(runs + _WARMUP):
            session.run(given)
        written = session.end_profiling().read_text(encoding="utf-8")
        try:
            events: list[Event] = json.loads(written)
        except json.JSONDecodeError as error:
            msg = f"ONNX Runtime could not write its profile to {str(folder)!r}; is the disk full?"
            raise RuntimeFailureError(msg) from error
    return events


def shares(
    events: Sequence[Event], model: Model
) -> tuple[tuple[TimeShare, ...], tuple[TimeShare, ...]]:
    """Add a trace up by operator and by layer, largest first.

    A node of control flow counts without the nodes of its bodies. Kernels are named after the
    layer they came from where ONNX Runtime's names allow; those that it added itself (layout
    changes, casts) share one line.

    Args:
        events: As `trace` returns them.
        model: The model that ran, for the names of its layers.
    """
    kernels, runs = kernel_times(events, model)
    by_op: dict[tuple[str, str], list[float]] = defaultdict(list)
    by_layer: dict[tuple[str, str], list[float]] = defaultdict(list)
    for node, op_type, own in kernels:
        by_op[op_type, op_type].append(own)
        by_layer[_ADDED if node is None else node.label, op_type].append(own)
    return _table(by_op, runs), _table(by_layer, runs)


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
    spans = sorted((e["ts"], e["ts"] + e["dur"]) for e in events if e.get("name") == "model_run")
    counted = spans[min(_WARMUP, len(spans) - 1) :] if spans else []
    if not counted:
        return [], 0
    start = counted[0][0]
    nodes = [e for e in events if e.get("cat") == "Node" and e["name"].endswith(_KERNEL)]
    known = _layers(model)
    found = []
    for event, own in _own_time([e for e in nodes if e["ts"] >= start]):
        op_type = str(event["args"].get("op_name", ""))
        found.append((_layer(event["name"].removesuffix(_KERNEL), op_type, known), op_type, own))
    return found, len(counted)


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


def _table(times: Mapping[tuple[str, str], Sequence[float]], runs: int) -> tuple[TimeShare, ...]:
    total = sum(sum(t) for t in times.values())
    rows = [
        TimeShare(name, op, len(t) / runs, sum(t) / runs / 1000, sum(t) / total if total else 0.0)
        for (name, op), t in times.items()
    ]
    return tuple(sorted(rows, key=lambda r: (-r.ms, r.name, r.op_type)))
