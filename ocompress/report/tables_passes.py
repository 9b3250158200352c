"""Passes and their options, for the terminal and as JSON."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from ocompress.pipeline import Pass
from ocompress.report.sheet import Sheet


def listing(shown: Sequence[type[Pass]]) -> Iterator[RenderableType]:
    """Return one row per pass."""
    table = Sheet()
    table.add_column("pass", no_wrap=True, style="bold")
    table.add_column("numerics", no_wrap=True)
    table.add_column("data", no_wrap=True)
    table.add_column("what it does", overflow="fold")
    for item in shown:
        data = "needed" if item.needs_data else ""
        table.add_row(item.name, item.numerics.value, data, Text(_summary(item)))
    yield table


def one(item: type[Pass]) -> Iterator[RenderableType]:
    """Return the manual of one pass: its docstring and a table of its options."""
    yield Text(item.name, style="bold")
    yield Text(inspect.cleandoc(item.__doc__ or ""))
    members = getattr(item, "members", ())
    if members:
        yield Text(f"Members: {', '.join(members)}")
    options = item.options()
    if not options:
        yield Text("It has no options.")
        return
    table = Sheet()
    for heading in ("option", "type", "default", "range"):
        table.add_column(heading, no_wrap=heading != "type", overflow="fold")
    table.add_column("meaning", overflow="fold")
    for spec in options:
        cells = (spec.name, spec.type_name, str(spec.default), spec.range, spec.info.help)
        table.add_row(*map(Text, cells))
    yield Text("")
    yield table


def describe(item: type[Pass]) -> dict[str, Any]:
    """Return what is known of a pass, JSON-able."""
    return {
        "name": item.name,
        "summary": _summary(item),
        "numerics": item.numerics.value,
        "needs_data": item.needs_data,
        "internal": item.internal,
        "members": list(getattr(item, "members", ())),
        "options": [
            {
                "name": spec.name,
                "type": spec.type_name,
                "default": _plain(spec.default),
                "at_least": spec.info.at_least,
                "at_most": spec.info.at_most,
                "choices": list(spec.info.choices),
                "help": spec.info.help,
            }
            for spec in item.options()
        ],
    }


def _summary(item: type[Pass]) -> str:
    return inspect.cleandoc(item.__doc__ or "").splitlines()[0]


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(v) for v in value]
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    return value if isinstance(value, str | int | float | bool | None) else str(value)
