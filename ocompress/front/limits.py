"""Limits on latency and size as people write them: `0.5x`, `50%`, `5ms`, `2MB`."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from ocompress.errors import OptionError

_WRITTEN = re.compile(r"\s*([+-]?[0-9.]+(?:e[+-]?[0-9]+)?)\s*([a-zµμ%]*)\s*", re.IGNORECASE)
_RATIOS = {"x": 1.0, "%": 0.01}
_MILLISECONDS = {"us": 1e-3, "µs": 1e-3, "μs": 1e-3, "ms": 1.0, "s": 1e3}
_SECONDS = {"": 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
_BYTES = {"b": 1.0, "kb": 1e3, "mb": 1e6, "gb": 1e9, "kib": 2.0**10, "mib": 2.0**20, "gib": 2.0**30}
_LARGEST_BARE = 2.0
"""Numbers from here on, written without a unit, are taken for milliseconds or bytes by mistake."""


@dataclass(frozen=True)
class GivenLimit:
    """A limit, of one of two kinds; None is no limit of that kind.

    Attributes:
        ratio: As a multiple of the original's.
        absolute: Milliseconds or bytes.
    """

    ratio: float | None = None
    absolute: float | None = None


def read_drop(given: float | str, *, own: bool = False) -> float:
    """Read a limit on the drop (`0.01`, `1%`) as a share.

    Args:
        given: What the user wrote.
        own: Whether the metric is the user's own, which may lose more than there is of a share.

    Raises:
        OptionError: If it is no number, negative, or above what can be lost.
    """
    text = str(given).strip()
    percent = text.endswith("%")
    number = _number(text.removesuffix("%"))
    if number is None or not math.isfinite(number):
        msg = f"max drop {text!r:.60} is not a number; write 0.01 or 1% for one percentage point"
        raise OptionError(msg)
    share = number / 100 if percent else number
    if share < 0:
        msg = f"max drop {text} must not be negative; write 0.01 or 1% for one point"
        raise OptionError(msg)
    if share > 1 and not own:
        meant = "" if percent else f"; for {text} points write {share / 100:g} or {text}%"
        msg = f"max drop {text} is above 100 percentage points, all there is to lose{meant}"
        raise OptionError(msg)
    return share


def latency_limit(given: float | str | None) -> GivenLimit:
    """Read a limit on latency: a ratio (`0.5`, `0.5x`, `50%`), or a time (`5ms`, `800us`, `1s`).

    Raises:
        OptionError: If it is neither, or not above 0.
    """
    return _limit("max latency", given, _MILLISECONDS, "5ms")


def size_limit(given: float | str | None) -> GivenLimit:
    """Read a limit on size: a ratio (`0.25`, `0.25x`, `25%`), or bytes (`2MB`, `500kB`, `1.5MiB`).

    Raises:
        OptionError: If it is neither, or not above 0.
    """
    return _limit("max size", given, _BYTES, "2MB")


def memory_limit(given: float | str | None) -> float | None:
    """Read a limit on memory in bytes (`200MB`, `1.5GiB`); None is none.

    Raises:
        OptionError: If it is no number of bytes, or not above 0.
    """
    return _bytes("max memory", given, "200MB")


def unpacked_limit(given: float | str | None) -> float | None:
    """Read a limit on what an archive is unpacked to, in bytes (`2GB`); None is the usual one.

    Raises:
        OptionError: If it is no number of bytes, or not above 0.
    """
    return _bytes("max size", given, "2GB")


def duration(given: float | str) -> float:
    """Read a time in seconds (`90`, `90s`, `15m`, `1h`).

    Raises:
        OptionError: If it is none, or not above 0.
    """
    found = _WRITTEN.fullmatch(str(given))
    number = _number(found[1]) if found else None
    unit = found[2].lower() if found else ""
    if isinstance(given, bool) or number is None or unit not in _SECONDS:
        msg = f"time {given!r:.60} is no time; write seconds or a unit, such as 90s or 15m"
        raise OptionError(msg)
    if not 0 < number < math.inf:
        msg = f"time {given} must be above 0; write one such as 90s or 15m"
        raise OptionError(msg)
    return number * _SECONDS[unit]


def _bytes(name: str, given: float | str | None, example: str) -> float | None:
    if given is None:
        return None
    written = _WRITTEN.fullmatch(str(given))
    if written is not None and written[2].lower() not in _BYTES:
        msg = f"{name} {given} is no number of bytes; write one with a unit, such as {example}"
        raise OptionError(msg)
    return _limit(name, given, _BYTES, example).absolute


def _limit(
    name: str, given: float | str | None, units: Mapping[str, float], example: str
) -> GivenLimit:
    if given is None:
        return GivenLimit()
    found = _WRITTEN.fullmatch(str(given))
    unit = found[2].lower() if found else ""
    number = _number(found[1]) if found else None
    if isinstance(given, bool) or number is None or unit not in {"", *_RATIOS, *units}:
        msg = (
            f"{name} {given!r:.60} is neither a ratio such as 0.5x nor a figure with a unit such "
            f"as {example}"
        )
        raise OptionError(msg)
    if not 0 < number < math.inf:
        msg = f"{name} {given} must be above 0; write one such as {example}"
        raise OptionError(msg)
    if not unit and number >= _LARGEST_BARE:
        plain = f"{number:g}"
        msg = (
            f"{name} {given} has no unit; write {plain}x for {plain} times the original's, or a "
            f"unit as in {example}"
        )
        raise OptionError(msg)
    if unit in units:
        return GivenLimit(absolute=number * units[unit])
    return GivenLimit(ratio=number * _RATIOS.get(unit, 1.0))


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
