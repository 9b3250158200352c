"""The program: its commands, and how it ends."""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from ocompress import __version__
from ocompress.cli import exits
from ocompress.cli.distill import distill
from ocompress.cli.examples import EXIT_CODES, epilog
from ocompress.cli.info import info
from ocompress.cli.inspect import inspect
from ocompress.cli.optimize import optimize
from ocompress.cli.pack import pack
from ocompress.cli.panels import OUTPUT
from ocompress.cli.passes import passes
from ocompress.cli.plan import plan
from ocompress.cli.profile import profile
from ocompress.cli.quoting import hint
from ocompress.cli.recipes import cmake_dir, recipes
from ocompress.cli.sweep import sweep
from ocompress.cli.target import setup, target
from ocompress.cli.unpack import unpack
from ocompress.cli.validate import validate


class _Group(TyperGroup):
    """The program, whose options take no values and say so."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Show no type beside flags, as commands do not."""
        params = super().get_params(ctx)
        for param in params:
            if getattr(param, "is_flag", False):
                param.metavar = ""
        return params


app = typer.Typer(
    cls=_Group,
    help="Make trained ONNX models smaller and faster, with proof.",
    epilog=EXIT_CODES,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
COMMANDS = (
    optimize,
    plan,
    distill,
    sweep,
    validate,
    profile,
    inspect,
    pack,
    unpack,
    info,
    passes,
    recipes,
)


class _Command(TyperCommand):
    """A command whose `--help` stands beside its other options for output."""

    def get_help_option(self, ctx: Any) -> Any:
        """Put the option that all commands have into a panel that they have."""
        option = super().get_help_option(ctx)
        if option is not None:
            option.rich_help_panel, option.metavar = OUTPUT, ""
        return option


def _enlist(command: Callable[..., int], group: typer.Typer) -> None:
    mapped = exits.mapped(command)
    group.command(cls=_Command, epilog=epilog(command.__name__))(mapped)


for _command in COMMANDS:
    _enlist(_command, app)
_enlist(cmake_dir, app)
_enlist(setup, target)
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
    for stream in (sys.stdout, sys.stderr):
        _print_any_text(stream)
    apart = hint(arguments)
    if apart is not None:
        exits.complain(exits.one_line(apart))
        return exits.USAGE
    try:
        code = app(args=list(arguments), prog_name="ocompress", standalone_mode=False)
    except Exception as error:
        message = getattr(error, "format_message", None)
        if message is None:
            raise
        exits.complain(_with_advice(exits.one_line(message())))
        return exits.USAGE
    exits.flush()
    return int(code or 0)


def _with_advice(sentence: str) -> str:
    """Say what to call where a word is no command, and how several passes are given."""
    extra = re.fullmatch(r"Got unexpected extra arguments?(?:\(s\))? \((.+)\)", sentence)
    if extra is not None and _names_passes(re.findall(r"[\w-]+", extra[1])):
        return f"{sentence}; passes take commas and no spaces between them: --passes prune,quant"
    found = re.fullmatch(r"No such command '(\S+)'\.", sentence)
    if found is None:
        return sentence
    said, word = sentence.rstrip("."), found[1]
    if _names_passes([word]):
        return f"{said}; it is a pass: ocompress optimize IN OUT --passes {word}"
    if word == "gate":
        return f"{said}; a gate is a file: ocompress validate REFERENCE CANDIDATE --gate FILE"
    return f"{said}; there are {', '.join(c.__name__ for c in COMMANDS)}"


def _names_passes(words: Sequence[str]) -> bool:
    from ocompress.pipeline import all_passes  # takes a while, and hardly any call needs it

    return not {item.name for item in all_passes()}.isdisjoint(words)


def _print_any_text(stream: object) -> None:
    """Escape what the terminal's encoding lacks, and names of files or models that are no text."""
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")
