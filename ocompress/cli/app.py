"""The program: its commands, and how it ends."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from types import FrameType
from typing import Annotated

import typer

from ocompress import __version__
from ocompress.cli import exits
from ocompress.cli.inspect import inspect
from ocompress.cli.optimize import optimize
from ocompress.cli.passes import passes
from ocompress.cli.profile import profile
from ocompress.cli.target import setup, target
from ocompress.cli.validate import validate

EPILOG = (
    "Exit codes: 0 done and within budget, 1 budget or gate failed, 2 wrong usage, 3 model "
    "invalid or unsupported, 4 failure, 130 interrupted."
)

app = typer.Typer(
    help="Make trained ONNX models smaller and faster, with proof.",
    epilog=EPILOG,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
COMMANDS = (optimize, validate, profile, inspect, passes)
for command in COMMANDS:
    app.command(epilog=EPILOG)(exits.mapped(command))
target.command(epilog=EPILOG)(exits.mapped(setup))
app.add_typer(target, name="target")


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"ocompress {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _root(
    ctx: typer.Context,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> int:
    del version  # its callback has ended the program
    if ctx.invoked_subcommand is None:
        names = ", ".join(c.__name__ for c in COMMANDS)
        exits.complain(f"name a command: {names}; `ocompress --help` says what each does")
        raise typer.Exit(exits.USAGE)
    return exits.DONE


def run(arguments: Sequence[str]) -> int:
    """Run the program on some arguments and return its exit code."""
    try:
        code = app(args=list(arguments), prog_name="ocompress", standalone_mode=False)
    except Exception as error:
        message = getattr(error, "format_message", None)
        if message is None:
            raise
        exits.complain(" ".join(message().split()))
        return exits.USAGE
    exits.flush()
    return int(code or 0)


def main() -> None:
    """Run the program as `ocompress`."""
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        code = run(sys.argv[1:])
    except KeyboardInterrupt:
        code = exits.INTERRUPTED
    sys.exit(code)


def _interrupt(_: int, __: FrameType | None) -> None:
    """End as on Ctrl-C, so that temporary files are removed."""
    raise KeyboardInterrupt
