"""`ocompress passes`."""

from __future__ import annotations

from typing import Annotated

import typer

from ocompress.cli import arguments as a
from ocompress.cli import exits
from ocompress.cli.console import Printer

Name = Annotated[
    str,
    typer.Argument(help="One pass, to see its options.", show_default=False),
]
All = Annotated[bool, a.flag("--all", panel=a.OUTPUT, text="List the parts of families too.")]


def passes(
    name: Name = "",
    show_all: All = False,
    as_json: a.Json = False,
    no_color: a.NoColor = False,
) -> int:
    """List the passes, or show one with its options."""
    from ocompress.pipeline import all_passes, find
    from ocompress.report import document, tables_passes

    printer = Printer(as_json=as_json, color=not no_color)
    if name:
        chosen = find(name)
        report = document("passes", {"name": name}, {"pass": tables_passes.describe(chosen)})
        printer.answer(tables_passes.one(chosen), report)
        return exits.DONE
    shown = [p for p in all_passes() if show_all or not p.internal]
    body = {"passes": [tables_passes.describe(p) for p in shown]}
    printer.answer(tables_passes.listing(shown), document("passes", {}, body))
    return exits.DONE
