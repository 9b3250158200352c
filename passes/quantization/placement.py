"""Where integers begin and end: the units of a model and the choice among them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from ocompress.ir import Node, Value
from ocompress.planning import Cell, Choice, Penalty, Toll, Wire, partition, predicted_ns
from ocompress.targets import Target
from passes.quantization.costing import Elements, MeasuredTimes, cell, crossing_ns, scaled
from passes.quantization.guards import pool_to_guard
from passes.quantization.units import Unit

_FORBIDDEN = float("inf")
_MOST_OFF = 8.0
"""Factor by which measured conversions may differ from the table's, at most."""
_BLOCKED = ("Conv", "Add", "MaxPool", "Concat", "GlobalAveragePool")
"""Operators that ONNX Runtime keeps in its blocked float layout around convolutions."""


@dataclass(frozen=True)
class Placement:
    """The units, what each became, and why.

    Attributes:
        units: Every unit considered, in graph order.
        choices: Integer or float, per unit.
        cells: Predicted times per unit; empty if nothing was predicted.
        ns: Predicted time of all units and of the conversions between them, nanoseconds.
    """

    units: Sequence[Unit]
    choices: Sequence[Choice]
    cells: Sequence[Cell | None] = ()
    ns: float = 0.0

    @property
    def chosen(self) -> list[Unit]:
        """The units that become integer operators."""
        return [u for u, c in zip(self.units, self.choices, strict=True) if c is Choice.INT8]


Price = tuple[Collection[int], float]
"""What it costs beside time, in nanoseconds, that any of some units (by id of their nodes) becomes
an integer operator."""


class PlacementProblem:
    """Which units shall become integer operators: what each choice costs."""

    def __init__(
        self,
        units: Sequence[Unit],
        elements: Elements,
        target: Target,
        times: MeasuredTimes | None = None,
        *,
        wariness: float = 1.0,
    ) -> None:
        """Find out the costs.

        Args:
            units: Candidates.
            elements: Size of each value for one sample.
            target: Gives the costs that were not measured.
            times: MeasuredTimes; what was not is taken to scale as the rest does to the target's.
            wariness: Factor on the costs of conversions.
        """
        self.units = units
        self._given = elements, target, times
        self.cells = [cell(u, elements, target) for u in units]
        scale = 1.0
        if times is not None:
            scale = self._scale(times.cells)
            self.cells = [
                None if c is None else times.cells.get(id(u.node), scaled(c, scale))
                for u, c in zip(units, self.cells, strict=True)
            ]
        self._free = not target.int8_costs
        self._parts = _Parts([u for u, _ in self._possible()], [c for _, c in self._possible()])
        _add_wires(self._parts, elements, target)
        self._parts.scale(wariness * self._conversions(times, scale))
        _add_ties(self._parts)

    def with_conversions(self, factor: float) -> PlacementProblem:
        """Return the same problem with conversions that cost `factor` times as much."""
        elements, target, times = self._given
        return PlacementProblem(self.units, elements, target, times, wariness=factor)

    def _scale(self, times: Mapping[int, Cell]) -> float:
        """Return how long this machine takes over what the target's table says."""
        known = seen = 0.0
        for unit, predicted in self._possible():
            if (found := times.get(id(unit.node))) is not None:
                known, seen = known + predicted.float_ns, seen + found.float_ns
        return seen / known if known else 1.0

    def _conversions(self, times: MeasuredTimes | None, scale: float) -> float:
        """Return the factor on conversions that was measured where some units are integers."""
        if times is None or not self._parts.cells:
            return scale
        parts = self._parts
        are_int8 = [id(u.node) in times.integers for u in parts.units]
        choices = [Choice.INT8 if yes else Choice.FLOAT for yes in are_int8]
        known = predicted_ns(choices, parts.cells, parts.wires, parts.penalties)
        cells = zip(parts.cells, are_int8, strict=True)
        known -= sum(c.int8_ns if yes else c.float_ns for c, yes in cells)
        if known <= 0:
            return scale
        return min(_MOST_OFF * scale, max(scale / _MOST_OFF, times.conversions / known))

    @property
    def float_ns(self) -> float:
        """Time of all units in float."""
        return sum(c.float_ns for c in self._parts.cells)

    def everything(self, but: Collection[int] = ()) -> Placement:
        """Return the placement in which every unit with an integer kernel is one.

        Args:
            but: Units that stay in float, by id of their nodes; all that share a weight do.
        """
        weights = {id(u.weight) for u in self.units if id(u.node) in but and u.weight is not None}

        def choice(unit: Unit) -> Choice:
            left = id(unit.node) in but or id(unit.weight) in weights
            return Choice.FLOAT if left else Choice.INT8

        if self._free:
            return Placement(self.units, [choice(u) for u in self.units])
        return self._placement([choice(u) for u in self._parts.units])

    def nothing(self) -> Placement:
        """Return the placement in which every unit stays in float."""
        if self._free:
            return Placement(self.units, [Choice.FLOAT] * len(self.units))
        return self._placement([Choice.FLOAT] * len(self._parts.cells))

    def solve(self, prices: Iterable[Price] = ()) -> Placement:
        """Return the cheapest placement, exactly.

        Args:
            prices: What integers cost beside time.
        """
        if self._free:
            return self.everything()
        parts = self._parts
        place = {id(u.node): i for i, u in enumerate(parts.units)}
        tolls = [
            Toll(tuple(place[n] for n in nodes if n in place), ns) for nodes, ns in prices if ns > 0
        ]
        return self._placement(partition(parts.cells, parts.wires, parts.penalties, tolls))

    def _possible(self) -> list[tuple[Unit, Cell]]:
        pairs = zip(self.units, self.cells, strict=True)
        return [(u, c) for u, c in pairs if c is not None]

    def _placement(self, found: Sequence[Choice]) -> Placement:
        parts, rest = self._parts, iter(found)
        choices = [Choice.FLOAT if c is None else next(rest) for c in self.cells]
        ns = predicted_ns(found, parts.cells, parts.wires, parts.penalties)
        return Placement(self.units, choices, self.cells, ns)


@dataclass
class _Parts:
    units: list[Unit]
    cells: list[Cell]
    wires: list[Wire] = field(default_factory=list)
    penalties: list[Penalty] = field(default_factory=list)

    def scale(self, factor: float) -> None:
        """Multiply what conversions cost."""
        self.wires = [
            replace(w, enter_ns=w.enter_ns * factor, leave_ns=w.leave_ns * factor)
            for w in self.wires
        ]
        self.penalties = [replace(p, ns=p.ns * factor) for p in self.penalties]


def owners(units: Sequence[Unit]) -> tuple[dict[int, int], dict[tuple[int, int], int]]:
    """Return which unit makes a value (by id), and which one reads at `(node id, position)`."""
    makers, sinks = {}, {}
    for index, unit in enumerate(units):
        for value in unit.outputs:
            makers[id(value)] = index
        for position, _ in unit.data:
            sinks[id(unit.node), position] = index
    return makers, sinks


def _add_wires(problem: _Parts, elements: Elements, target: Target) -> None:
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
        if not outside and pool_to_guard(value) is not None:
            enter += crossing_ns(target, "guard", size)
        readers = tuple(dict.fromkeys(inside))
        problem.wires.append(Wire(source, readers, outside, enter, leave))
        lone = crossing_ns(target, "MaxPool.lone", size)
        _add_penalties(problem, source, readers, reorder, lone)


def _add_penalties(
    problem: _Parts,
    source: int | None,
    readers: Sequence[int],
    reorder: float,
    lone: float,
) -> None:
    for reader in readers:
        node: Node = problem.units[reader].node
        if source is not None and reorder and node.op_type == "Conv":
            problem.penalties.append(Penalty(source, reader, reorder))
        if node.op_type == "MaxPool":
            problem.penalties.append(Penalty(reader, source, lone))


def _add_ties(problem: _Parts) -> None:
    """Units that read one weight become integer ones together or not at all."""
    first: dict[int, int] = {}
    for index, unit in enumerate(problem.units):
        if unit.weight is None:
            continue
        other = first.setdefault(id(unit.weight), index)
        if other != index:
            problem.penalties.append(Penalty(index, other, _FORBIDDEN))
            problem.penalties.append(Penalty(other, index, _FORBIDDEN))
