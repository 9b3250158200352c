"""`ocompress sweep`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ocompress.cli import outputs as o
from ocompress.cli import worker_arguments as w
from ocompress.cli.console import Printer

Jobs = Annotated[
    Path,
    typer.Argument(help="A TOML file of jobs: models, passes and limits.", metavar="jobs"),
]


def sweep(
    jobs: Jobs,
    workers: w.WorkerCount = 1,
    scheduler: w.Scheduler = "",
    report: o.Report = None,
    report_format: o.ReportFormat = "",
    summary: o.Summary = None,
    as_json: o.Json = False,
    quiet: o.Quiet = False,
    no_color: o.NoColor = False,
) -> int:
    """Optimize many models under many settings, and show all results in one table."""
    from ocompress.cli import exits
    from ocompress.cli.sinks import Sinks
    from ocompress.front import sweep as run
    from ocompress.report import document, tables_sweep

    sinks = Sinks(report=report, form=report_format, summary=summary, as_json=as_json)
    sinks.check([jobs])
    printer = Printer(quiet=quiet, as_json=as_json, taken=sinks.taken, color=not no_color)
    found = run(
        jobs,
        workers=workers,
        scheduler=scheduler,
        progress=lambda done, total, row: printer.say(
            f"{done} of {total}: job {row.number} {row.ending}, {row.seconds:.0f} s"
        ),
    )
    settings = {"jobs": str(jobs), "workers": workers, "scheduler": scheduler}
    full = document("sweep", settings, found.to_json())
    title = f"ocompress sweep {jobs}"
    sinks.write_report(full, title, tables_sweep.sweep(found))
    sinks.write_summary(title, tables_sweep.sweep(found))
    printer.answer(tables_sweep.sweep(found), full)
    if found.code:
        exits.complain(found.summary)
    return found.code
