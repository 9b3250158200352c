"""Numbers as people read them."""

from __future__ import annotations

import math

from ocompress.analysis.cost import Cost
from ocompress.validation import Interval, OutputComparison
from ocompress.wording import counted


def byte_text(count: int) -> str:
    """Return bytes in decimal units with three significant digits."""
    return _scaled(count, ("B", "kB", "MB", "GB", "TB"), " ")


def count_text(count: int) -> str:
    """Return a count with a decimal prefix."""
    return _scaled(count, ("", " k", " M", " G", " T"), "")


def macs_text(cost: Cost) -> str:
    """Return multiply-accumulates; where some nodes could not be counted, only a lower bound."""
    if cost.unknown and not cost.total_macs:
        return "not known"
    text = count_text(cost.total_macs)
    return f">= {text}" if cost.unknown else text


def ratio_text(before: float, after: float) -> str:
    """Return after over before, empty when there is nothing to compare."""
    return f"{after / before:.3f}" if before else ""


def db_text(value: float) -> str:
    """Return decibels; equal outputs have no finite number."""
    if math.isinf(value) and value > 0:
        return "exact"
    return f"{value:.1f} dB"


def sqnr_text(output: OutputComparison) -> str:
    """Return the SQNR of an output in decibels, or for how many feeds its shape is another one.

    Rows of two lists of different lengths are no pairs, as where one more box is found. Two lists
    without a row say nothing.
    """
    if output.is_empty:
        return "nothing to compare"
    if output.shape_changes:
        return f"other shape in {counted(output.shape_changes, 'feed')}"
    return db_text(output.sqnr_db)


def share_text(interval: Interval) -> str:
    """Return a share in percent with its 95 % interval."""
    low, high = 100 * interval.low, 100 * interval.high
    return f"{100 * interval.value:.2f} % ({low:.2f}-{high:.2f})"


def points_text(interval: Interval) -> str:
    """Return a loss of a share in points of a hundred, with the ends of its interval."""
    low, high = 100 * interval.low, 100 * interval.high
    return f"{100 * interval.value:.2f} points ({low:.2f}-{high:.2f})"


def _scaled(count: int, units: tuple[str, ...], space: str) -> str:
    size, step = float(count), 0
    while size >= 999.5 and step < len(units) - 1:
        size, step = size / 1000, step + 1
    number = f"{size:.3g}" if step else str(count)
    return f"{number}{space}{units[step]}".rstrip()
