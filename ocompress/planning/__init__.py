"""Choosing per part of a model: what becomes an integer operator, what becomes a cheaper one."""

from ocompress.planning.candidates import KEEP, Candidate, CandidateTable, Resource
from ocompress.planning.partition import Cell, Choice, Penalty, Toll, Wire, partition, predicted_ns

__all__ = [
    "KEEP",
    "Candidate",
    "CandidateTable",
    "Cell",
    "Choice",
    "Penalty",
    "Resource",
    "Toll",
    "Wire",
    "partition",
    "predicted_ns",
]
