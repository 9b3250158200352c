"""Which operators shall run as integers: the exact optimum, as a minimum cut.

Every operator that could be an integer one is a cell with a time either way; every tensor
between cells costs time where it changes sides. The sum is a submodular function of the choices,
so that a minimum s-t cut minimises it (Picard and Ratliff, Networks 1975; Kolmogorov and Zabih,
PAMI 2004). The source side is integer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from ocompress.planning.maxflow import FlowNetwork


class Choice(StrEnum):
    """How an operator runs."""

    INT8 = "int8"
    FLOAT = "float"


@dataclass(frozen=True, slots=True)
class Cell:
    """An operator with a choice.

    Attributes:
        float_ns: Time as a float operator.
        int8_ns: Time as an integer operator.
    """

    float_ns: float
    int8_ns: float


@dataclass(frozen=True, slots=True)
class Wire:
    """A tensor.

    Attributes:
        source: Cell that makes it, None if it is made in float outside.
        sinks: Cells that read it.
        float_sinks: How often it is read in float outside (formal outputs count).
        enter_ns: Cost of its integer form, paid once when it is made in float and any sink is
            integer.
        leave_ns: Cost per float reader when it is made as integers.
    """

    source: int | None
    sinks: tuple[int, ...] = ()
    float_sinks: int = 0
    enter_ns: float = 0.0
    leave_ns: float = 0.0


@dataclass(frozen=True, slots=True)
class Penalty:
    """Extra time if cell `int8` is an integer operator while cell `other` is float.

    An infinite one forbids the combination; `other` None stands for the float outside.
    """

    int8: int
    other: int | None
    ns: float


@dataclass(frozen=True, slots=True)
class Toll:
    """Something paid once if any of several cells is an integer operator.

    Attributes:
        cells: The cells.
        ns: The price, in time.
    """

    cells: tuple[int, ...]
    ns: float


def partition(
    cells: Sequence[Cell],
    wires: Sequence[Wire],
    penalties: Sequence[Penalty] = (),
    tolls: Sequence[Toll] = (),
) -> list[Choice]:
    """Choose for every cell so that the predicted time is least; of equals, the least integers.

    Args:
        cells: The operators.
        wires: The tensors around them.
        penalties: Further costs of pairs.
        tolls: Further costs of sets.

    Returns:
        A choice per cell, in their order.
    """
    network = FlowNetwork(len(cells) + 2)
    source, sink = len(cells), len(cells) + 1
    for index, cell in enumerate(cells):
        network.add(source, index, _units(cell.float_ns))
        network.add(index, sink, _units(cell.int8_ns))
    for wire in wires:
        _add_wire(network, wire, sink)
    for penalty in penalties:
        end = sink if penalty.other is None else penalty.other
        if penalty.int8 != end:
            network.add(penalty.int8, end, _units(penalty.ns))
    for toll in tolls:
        _add_toll(network, toll, sink)
    integer = network.source_side(source, sink)
    return [Choice.INT8 if i in integer else Choice.FLOAT for i in range(len(cells))]


def predicted_ns(
    choices: Sequence[Choice],
    cells: Sequence[Cell],
    wires: Sequence[Wire],
    penalties: Sequence[Penalty] = (),
) -> float:
    """Return the predicted time of a set of choices; what `partition` minimises."""
    int8 = [c is Choice.INT8 for c in choices]
    total = sum(c.int8_ns if q else c.float_ns for c, q in zip(cells, int8, strict=True))
    for wire in wires:
        made_int8 = wire.source is not None and int8[wire.source]
        read_int8 = [int8[s] for s in wire.sinks]
        if made_int8:
            total += wire.leave_ns * (read_int8.count(False) + wire.float_sinks)
        elif any(read_int8):
            total += wire.enter_ns
    for penalty in penalties:
        other_float = penalty.other is None or not int8[penalty.other]
        if int8[penalty.int8] and other_float:
            total += penalty.ns
    return total


def _add_wire(network: FlowNetwork, wire: Wire, sink: int) -> None:
    made = sink if wire.source is None else wire.source
    sinks = [s for s in wire.sinks if s != made]
    if wire.source is not None:
        leave = _units(wire.leave_ns)
        for reader in sinks:
            network.add(made, reader, leave)
        if wire.float_sinks:
            network.add(made, sink, leave * wire.float_sinks)
    if len(sinks) == 1:
        network.add(sinks[0], made, _units(wire.enter_ns))
    elif sinks:
        # integer as soon as one reader is: cut from here to the maker at most once
        shared = network.add_node()
        for reader in sinks:
            network.add(reader, shared, FlowNetwork.INFINITE)
        network.add(shared, made, _units(wire.enter_ns))


def _add_toll(network: FlowNetwork, toll: Toll, sink: int) -> None:
    if len(toll.cells) == 1:
        network.add(toll.cells[0], sink, _units(toll.ns))
    elif toll.cells:
        gate = network.add_node()
        for cell in toll.cells:
            network.add(cell, gate, FlowNetwork.INFINITE)
        network.add(gate, sink, _units(toll.ns))


def _units(nanoseconds: float) -> int:
    """Return whole picoseconds, so that the cut does not depend on rounding or order."""
    if nanoseconds == float("inf"):
        return FlowNetwork.INFINITE
    return min(round(nanoseconds * 1000), FlowNetwork.INFINITE)
