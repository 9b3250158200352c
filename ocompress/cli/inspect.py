"""`ocompress inspect`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ocompress.cli import arguments as a
from ocompress.cli import exits
from ocompress.cli.console import Printer

Subject = Annotated[Path, typer.Argument(help="The model, an ONNX file.", show_default=False)]


def inspect(
    model: Subject,
    data: a.Data = "",
    preprocess: a.Preprocess = None,
    samples: a.Samples = None,
    target: a.Target = "host",
    as_json: a.Json = False,
    quiet: a.Quiet = False,
    verbose: a.Verbose = False,
    no_color: a.NoColor = False,
) -> int:
    """Show what is in a model, what each pass would do to it, and what it would leave alone."""
    from ocompress.front.survey import survey
    from ocompress.report import document, tables_survey

    printer = Printer(quiet=quiet, as_json=as_json, color=not no_color, verbose=verbose)
    found = survey(model, data=data or None, preprocess=preprocess, samples=samples, target=target)
    settings = {"model": str(model), "data": data or None, "target": target}
    printer.answer(
        tables_survey.survey(found, verbose=verbose), document("inspect", settings, found.to_json())
    )
    return exits.DONE
