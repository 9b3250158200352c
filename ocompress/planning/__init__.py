"""Choosing per layer: what becomes an integer operator, what stays as it is."""

from ocompress.planning.partition import Cell, Choice, Penalty, Toll, Wire, partition, predicted_ns

__all__ = ["Cell", "Choice", "Penalty", "Toll", "Wire", "partition", "predicted_ns"]
