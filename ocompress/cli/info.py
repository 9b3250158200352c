"""`ocompress info`."""

from __future__ import annotations

from ocompress.cli import arguments as a
from ocompress.cli import exits
from ocompress.cli import outputs as o
from ocompress.cli.console import Printer


def info(
    archive: a.Archive,
    base: a.Base = None,
    as_json: o.Json = False,
    quiet: o.Quiet = False,
    no_color: o.NoColor = False,
) -> int:
    """Show what is in an archive, tensor by tensor, and check that all of it comes back."""
    from ocompress.front import archives
    from ocompress.report import document, tables_coded

    printer = Printer(quiet=quiet, as_json=as_json, color=not no_color)
    found = archives.describe(archive, base=base)
    body = document("info", {"archive": str(archive)}, found.to_json())
    printer.answer(tables_coded.coded(found), body)
    return exits.DONE
