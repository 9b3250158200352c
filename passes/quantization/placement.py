"""Where integers begin and end: the units of a model and the choice among them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ocompress.ir import Node, Value
from ocompress.planning import Cell, Choice, Penalty, Wire, partition
from ocompress.targets import Target
from passes.quantization.costing import Elements, cell, crossing_ns
from passes.quantization.units import Unit

_FORBIDDEN = float("inf")
_BLOCKED = ("Conv", "Add", "MaxPool", "Concat", "GlobalAveragePool")
"""Operators that ONNX Runtime keeps in its blocked float layout around convolutions."""


@dataclass(frozen=True)
class Placement:
    """The units, what each became, and why.

    Attributes:
        units: Every unit considered, in graph order.
        choices: Integer or float, per unit.
        cells: Predicted times per unit; empty if nothing was predicted.
    """

    units: Sequence[Unit]
    choices: Sequence[Choice]
    cells: Sequence[Cell | None] = ()

    @property
    def chosen(self) -> list[Unit]:
        """The units that become integer operators."""
        return [u for u, c in zip(self.units, self.choices, strict=True) if c is Choice.INT8]


@dataclass
class _Problem:
    units: list[Unit]
    cells: list[Cell]
    wires: list[Wire] = field(default_factory=list)
    penalties: list[Penalty] = field(default_factory=list)


def place(units: Sequence[Unit], elements: Elements, target: Target, *, pay: bool) -> Placement:
    """Choose the units that become integer operators.

    Args:
        units: Candidates.
        elements: Size of each value for one sample.
        target: Gives the costs.
        pay: Whether units that would not make the model faster stay in float.
    """
    cells = [cell(u, elements, target) for u in units]
    if not target.int8_costs:
        return Placement(units, [Choice.INT8] * len(units))
    if not pay:
        free = [Choice.INT8 if c is not None else Choice.FLOAT for c in cells]
        return Placement(units, free, cells)
    problem = _Problem(
        [u for u, c in zip(units, cells, strict=True) if c is not None],
        [c for c in cells if c is not None],
    )
    _add_wires(problem, elements, target)
    _add_ties(problem)
    found = iter(partition(problem.cells, problem.wires, problem.penalties))
    choices = [Choice.FLOAT if c is None else next(found) for c in cells]
    return Placement(units, choices, cells)


def owners(units: Sequence[Unit]) -> tuple[dict[int, int], dict[tuple[int, int], int]]:
    """Return which unit makes a value (by id), and which one reads at `(node id, position)`."""
    makers, sinks = {}, {}
    for index, unit in enumerate(units):
        for value in unit.outputs:
            makers[id(value)] = index
        for position, _ in unit.data:
            sinks[id(unit.node), position] = index
    return makers, sinks


def _add_wires(problem: _Problem, elements: Elements, target: Target) -> None:
    makers, sinks = owners(problem.units)
    values: dict[int, Value] = {}
    for unit in problem.units:
        for value in (*(v for _, v in unit.data), *unit.outputs):
            values[id(value)] = value
    for key, value in values.items():
        source = makers.get(key)
        users = value.users
        inside = [sinks[id(n), i] for n, i in users if (id(n), i) in sinks]
        outside = len(users) - len(inside) + value.output_count
        size = elements(value)
        reorder = 0.0
        blocked = source is not None and problem.units[source].node.op_type in _BLOCKED
        if blocked and value.rank == 4:
            reorder = crossing_ns(target, "reorder", size)
        single = len(users) + value.output_count == 1
        free = source is not None and problem.units[source].output_optional and single
        leave = 0.0 if free else crossing_ns(target, "leave", size)
        enter = crossing_ns(target, "enter", size) + reorder
        readers = tuple(dict.fromkeys(inside))
        problem.wires.append(Wire(source, readers, outside, enter, leave))
        _add_penalties(problem, source, readers, reorder, size, target)


def _add_penalties(
    problem: _Problem,
    source: int | None,
    readers: Sequence[int],
    reorder: float,
    size: float,
    target: Target,
) -> None:
    for reader in readers:
        node: Node = problem.units[reader].node
        if source is not None and reorder and node.op_type == "Conv":
            problem.penalties.append(Penalty(source, reader, reorder))
        if node.op_type == "MaxPool":
            lone = crossing_ns(target, "MaxPool.lone", size)
            problem.penalties.append(Penalty(reader, source, lone))


def _add_ties(problem: _Problem) -> None:
    """Units that read one weight become integer ones together or not at all."""
    first: dict[int, int] = {}
    for index, unit in enumerate(problem.units):
        if unit.weight is None:
            continue
        other = first.setdefault(id(unit.weight), index)
        if other != index:
            problem.penalties.append(Penalty(index, other, _FORBIDDEN))
            problem.penalties.append(Penalty(other, index, _FORBIDDEN))
