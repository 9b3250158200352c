"""`ocompress passes`."""

from __future__ import annotations

from typing import Annotated

import typer

from ocompress.cli import exits
from ocompress.cli import outputs as o
from ocompress.cli.console import Printer
from ocompress.cli.panels import OUTPUT, flag

Name = Annotated[
    str,
    typer.Argument(help="Pass whose options to show.", show_default=False),
]
All = Annotated[bool, flag("--all", panel=OUTPUT, text="Also list the members of families.")]


def passes(
    name: Name = "",
    show_all: All = False,
    as_json: o.Json = False,
    no_color: o.NoColor = False,
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
