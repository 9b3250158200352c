"""`ocompress target`: devices that models can be run on beside this machine."""

from __future__ import annotations

from typing import Annotated

import typer

from ocompress.cli import exits
from ocompress.cli import outputs as o
from ocompress.cli.console import Printer
from ocompress.cli.panels import INPUT, OUTPUT, flag, valued

target = typer.Typer(help="Set up devices other than this machine.", add_completion=False)

Name = Annotated[str, typer.Argument(help="The device: qemu-aarch64.")]
Mirror = Annotated[
    str,
    valued(
        "--mirror",
        kind="URL",
        panel=INPUT,
        text="Mirror to download Debian packages from.",
    ),
]
Again = Annotated[bool, flag("--again", panel=OUTPUT, text="Set it up again even if it exists.")]


@target.callback(invoke_without_command=True)
def _root(ctx: typer.Context) -> int:
    if ctx.invoked_subcommand is None:
        exits.complain("name a command: setup; `ocompress target --help` says what it does")
        raise typer.Exit(exits.USAGE)
    return exits.DONE


def setup(
    name: Name,
    mirror: Mirror = "",
    again: Again = False,
    quiet: o.Quiet = False,
    no_color: o.NoColor = False,
) -> int:
    """Download what a device needs into the cache folder, once."""
    from ocompress.errors import OptionError
    from ocompress.targets import emulated

    if name.partition(":")[0] != emulated.NAME:
        msg = f"{name!r} needs no setup; only {emulated.NAME} does"
        raise OptionError(msg)
    printer = Printer(quiet=quiet, color=not no_color)
    emulated.set_up(say=printer.say, mirror=mirror, again=again)
    return exits.DONE
