"""Choosing per part of a model: what becomes an integer operator, what becomes a cheaper one."""

from ocompress.planning.moves import KEEP, Edit, Move, MoveTable, Resource
from ocompress.planning.partition import Cell, Choice, Penalty, Toll, Wire, partition, predicted_ns
from ocompress.planning.ranking import runners_up

__all__ = [
    "KEEP",
    "Cell",
    "Choice",
    "Edit",
    "Move",
    "MoveTable",
    "Penalty",
    "Resource",
    "Toll",
    "Wire",
    "partition",
    "predicted_ns",
    "runners_up",
]
