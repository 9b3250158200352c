"""`ocompress unpack`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ocompress.cli import arguments as a
from ocompress.cli import exits
from ocompress.cli import outputs as o
from ocompress.cli.console import Printer
from ocompress.cli.panels import OUTPUT, valued

Model = Annotated[Path, typer.Argument(help="Path of the model; external data go beside it.")]
MaxSize = Annotated[
    str | None,
    valued(
        "--max-size",
        kind="BYTES",
        panel=OUTPUT,
        text="Most bytes to unpack, such as 2GB. Default: 1 GiB, or 256 times the archive.",
        show_default=False,
    ),
]


def unpack(
    archive: a.Archive,
    model: Model,
    base: a.Base = None,
    max_size: MaxSize = None,
    quiet: o.Quiet = False,
    no_color: o.NoColor = False,
) -> int:
    """Get a model back from an archive, byte by byte as it was."""
    from ocompress.front import archives
    from ocompress.report.figures import byte_text

    printer = Printer(quiet=quiet, color=not no_color)
    for path in archives.unpack(archive, model, base=base, max_size=max_size):
        printer.say(f"{path}: {byte_text(path.stat().st_size)}")
    return exits.DONE
