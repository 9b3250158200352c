"""`ocompress pack`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ocompress.cli import arguments as a
from ocompress.cli import exits
from ocompress.cli import outputs as o
from ocompress.cli.console import Printer

Archive = Annotated[Path, typer.Argument(help="Path of the archive, an .ocz file.")]


def pack(
    model: a.Subject,
    archive: Archive,
    base: a.Base = None,
    quiet: o.Quiet = False,
    no_color: o.NoColor = False,
) -> int:
    """Pack a model and its external data into an archive that gives back every byte."""
    from ocompress.front import archives
    from ocompress.io import files_to_pack
    from ocompress.report.figures import byte_text

    printer = Printer(quiet=quiet, color=not no_color)
    before = sum(path.stat().st_size for path in files_to_pack(model))
    hint = archives.advice(before)
    if hint:
        printer.say(hint)
    archives.pack(model, archive, base=base)
    after = archive.stat().st_size
    sizes = f"{byte_text(after)} of {byte_text(before)}"
    printer.say(f"{archive}: {sizes}, {before / after:.2f} times smaller")
    return exits.DONE
