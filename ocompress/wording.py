"""Words of messages that depend on numbers."""

from __future__ import annotations


def counted(count: int, noun: str) -> str:
    """Return a number with its noun: `1 sample`, `0 samples`."""
    return f"{count} {noun}{plural(count)}"


def plural(count: float) -> str:
    """Return what a noun ends in behind a number: `1 point`, `0.5 points`."""
    return "" if count == 1 else "s"
