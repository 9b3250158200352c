"""The panels of `--help`, and how options are put into them.

Panels stand in the order in which a command names their first options: Input, Passes, Budget,
Measuring, Output.
"""

from __future__ import annotations

from typing import Any

import typer

INPUT, PASSES, BUDGET, MEASURING, OUTPUT = "Input", "Passes", "Budget", "Measuring", "Output"


def flag(*names: str, panel: str, text: str) -> Any:
    """Declare an option that takes no value."""
    return typer.Option(*names, help=_plain(text), rich_help_panel=panel, metavar="")


def valued(*names: str, kind: str, panel: str, text: str, **more: Any) -> Any:
    """Declare an option whose value is shown as `kind`."""
    return typer.Option(*names, help=_plain(text), rich_help_panel=panel, metavar=kind, **more)


def _plain(text: str) -> str:
    """Keep what is in brackets, such as extras to install, from being read as markup."""
    return text.replace("[", r"\[")
