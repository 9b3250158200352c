"""Checking arguments from Python once, at the door, so that nothing inside trips over them."""

from __future__ import annotations

import numbers
import os
from pathlib import Path
from typing import overload

from ocompress.errors import UsageError

_MOST = 1 << 63
"""Whole numbers are below this, as those of files and of numpy."""


@overload
def whole(name: str, value: object) -> int: ...
@overload
def whole(name: str, value: object, *, optional: bool) -> int | None: ...
def whole(name: str, value: object, *, optional: bool = False) -> int | None:
    """Return a whole number; NumPy's are, too, and truth values are not.

    Raises:
        UsageError: If it is something else.
    """
    if value is None and optional:
        return None
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise UsageError(_wrong(name, "a whole number", value, optional=optional))
    if not -_MOST < int(value) < _MOST:
        raise UsageError(_wrong(name, "a whole number of 64 bits", value, optional=optional))
    return int(value)


@overload
def number(name: str, value: object) -> float: ...
@overload
def number(name: str, value: object, *, optional: bool) -> float | None: ...
def number(name: str, value: object, *, optional: bool = False) -> float | None:
    """Return a number.

    Raises:
        UsageError: If it is something else.
    """
    if value is None and optional:
        return None
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise UsageError(_wrong(name, "a number", value, optional=optional))
    try:
        return float(value)
    except OverflowError as error:
        wrong = _wrong(name, "a number of double precision", value, optional=optional)
        raise UsageError(wrong) from error


@overload
def truth(name: str, value: object) -> bool: ...
@overload
def truth(name: str, value: object, *, optional: bool) -> bool | None: ...
def truth(name: str, value: object, *, optional: bool = False) -> bool | None:
    """Return True or False.

    Raises:
        UsageError: If it is something else.
    """
    if value is None and optional:
        return None
    if not isinstance(value, bool):
        raise UsageError(_wrong(name, "True or False", value, optional=optional))
    return value


@overload
def file(name: str, value: object) -> Path: ...
@overload
def file(name: str, value: object, *, optional: bool) -> Path | None: ...
def file(name: str, value: object, *, optional: bool = False) -> Path | None:
    """Return the name of a file as a path.

    Raises:
        UsageError: If it is something else.
    """
    if value is None and optional:
        return None
    named = os.fspath(value) if isinstance(value, str | os.PathLike) else None
    if not isinstance(named, str) or not named:
        raise UsageError(_wrong(name, "the name of a file", value, optional=optional))
    return Path(named)


def instance(name: str, value: object, wanted: str, *kinds: type) -> None:
    """Refuse what is of none of some types.

    Args:
        name: The argument.
        value: What was given.
        wanted: What it should be, in words.
        *kinds: The types.

    Raises:
        UsageError: If it is of another.
    """
    if not isinstance(value, kinds):
        raise UsageError(_wrong(name, wanted, value, optional=False))


def function(name: str, value: object) -> None:
    """Refuse what cannot be called.

    Raises:
        UsageError: If it is something else.
    """
    if not callable(value):
        raise UsageError(_wrong(name, "a function", value, optional=False))


def _wrong(name: str, wanted: str, value: object, *, optional: bool) -> str:
    none = " or None" if optional else ""
    return f"{name} must be {wanted}{none}, not {value!r:.60} of type {type(value).__name__}"
