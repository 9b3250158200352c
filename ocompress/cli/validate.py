"""`ocompress validate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ocompress.cli import arguments as a
from ocompress.cli import exits
from ocompress.cli.console import Printer

Reference = Annotated[Path, typer.Argument(help="The original model.", show_default=False)]
Candidate = Annotated[Path, typer.Argument(help="What became of it.", show_default=False)]
GateFile = Annotated[Path | None, typer.Option("--gate", help="Limits, a TOML file.")]
Junit = Annotated[Path | None, typer.Option("--junit", help="Write the checks as JUnit XML.")]
OwnMetric = Annotated[str, typer.Option("--metric", help="Your own metric, module:function.")]


def validate(
    reference: Reference,
    candidate: Candidate,
    data: a.Data = "",
    labels: a.Labels = None,
    preprocess: a.Preprocess = None,
    samples: a.Samples = None,
    metric: OwnMetric = "",
    gate: GateFile = None,
    junit: Junit = None,
    report: a.Report = None,
    threads: a.Threads = 1,
    as_json: a.Json = False,
    quiet: a.Quiet = False,
    verbose: a.Verbose = False,
    no_color: a.NoColor = False,
) -> int:
    """Compare a model with its original: structure, numbers, decisions, accuracy, limits."""
    from ocompress import front
    from ocompress.io import atomic_write, check_output, model_files
    from ocompress.report import document, tables_validation, to_text
    from ocompress.report.junit import junit as to_junit

    sources = [*model_files(reference), *model_files(candidate)]
    for path in (report, junit):
        if path is not None:
            check_output(path, sources)
    found = front.validate(
        reference,
        candidate,
        data or None,
        labels=labels,
        samples=samples,
        preprocess=preprocess,
        metric=metric or None,
        gate=gate,
        threads=threads,
    )
    settings = {"reference": str(reference), "candidate": str(candidate), "data": data or None}
    settings |= {"gate": str(gate) if gate else None, "metric": metric or None}
    body = document("validate", settings, found.to_json())
    if report is not None:
        atomic_write(report, to_text(body))
    if junit is not None:
        atomic_write(junit, to_junit(str(candidate), (*found.structure, *found.gate)))
    printer = Printer(quiet=quiet, as_json=as_json, color=not no_color, verbose=verbose)
    printer.answer(tables_validation.validation(found, verbose=verbose), body)
    if found.passed:
        return exits.DONE
    failed = "; ".join(c.message or c.name for c in found.failures)
    exits.complain(f"{str(candidate)!r} does not pass: {failed}")
    return exits.OVER_BUDGET
