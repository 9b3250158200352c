"""What `ocompress plan` does once its options are read."""

from __future__ import annotations

from pathlib import Path

from ocompress.cli import exits
from ocompress.cli.console import Printer
from ocompress.cli.progress import Bars
from ocompress.cli.sinks import Sinks
from ocompress.front import Planning, Request, find_plan
from ocompress.io import atomic_write, check_outputs, model_files
from ocompress.report import document, pages, tables, tables_plan


def perform(
    request: Request,
    planning: Planning,
    model: Path,
    output: Path | None,
    sinks: Sinks,
    printer: Printer,
) -> int:
    """Find a plan, write it and its report, and return the exit code."""
    planning.check(request)
    sources = [*model_files(model), *request.files, *planning.files]
    if output is not None:
        check_outputs([output], sources)
    sinks.check([*sources, *([output] if output is not None else [])])
    shown = {"model": str(model), **request.settings(planned=True), **planning.settings()}
    printer.say(tables.settings(shown))
    with Bars(printer) as bars:
        found = find_plan(request, planning, model, instruments=[bars])
    recipe = found.recipe()
    if output is not None:
        atomic_write(output, recipe, touch=True)
    body = {**found.to_json(), "recipe": recipe, "output": str(output or "")}
    report = document("plan", {**shown}, body)
    sinks.write_report(report, f"ocompress plan {model}", pages.plan(found, shown))
    text = recipe if output is None else ""
    printer.answer(tables_plan.page(found, text, explain=printer.explain), report)
    printer.say(tables_plan.closing(found, output))
    return exits.DONE
