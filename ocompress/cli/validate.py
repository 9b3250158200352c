"""`ocompress validate`."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from ocompress.cli import arguments as a
from ocompress.cli import exits
from ocompress.cli import outputs as o
from ocompress.cli.console import Printer
from ocompress.cli.panels import BUDGET, MEASURING, OUTPUT, valued
from ocompress.stopping import RUN_SECONDS, time_limit

if TYPE_CHECKING:
    from rich.console import RenderableType

    from ocompress.validation import ValidationResult

    Parts: TypeAlias = Iterator[RenderableType]
    Page: TypeAlias = Callable[[Mapping[str, Any]], Parts]
    Compared: TypeAlias = tuple[ValidationResult, dict[str, Any], Parts, Page]

Reference = Annotated[Path, typer.Argument(help="The original model.")]
Candidate = Annotated[Path, typer.Argument(help="The compressed model.")]
GateFile = Annotated[
    Path | None, valued("--gate", kind="FILE", panel=BUDGET, text="Gate file: limits, in TOML.")
]
OwnMetric = Annotated[
    str,
    valued(
        "--metric",
        kind="METRIC",
        panel=BUDGET,
        text="What is counted as lost: a name as for optimize, OUTPUT=NAME, or module:function. "
        "Default: by the kind of output.",
    ),
]
MaxDrop = Annotated[
    str | None,
    valued(
        "--max-drop",
        kind="SHARE",
        panel=BUDGET,
        text="Largest loss allowed: 0.01 or 1% is one percentage point. Default: 1 point, 5 where "
        "every difference counts, none with a gate or a metric of your own.",
    ),
]
Device = Annotated[
    str,
    valued(
        "-t",
        "--device",
        "--target",  # its name in the first releases
        kind="DEVICE",
        panel=MEASURING,
        text="Device to run on: host, qemu-aarch64[:core], local.".replace("[", "\\["),
    ),
]
Junit = Annotated[
    Path | None,
    valued("--junit", kind="FILE", panel=OUTPUT, text="Write the checks as JUnit XML."),
]


def validate(
    reference: Reference,
    candidate: Candidate,
    data: a.Data = "",
    labels: a.Labels = None,
    preprocess: a.Preprocess = None,
    samples: a.Samples = None,
    gate: GateFile = None,
    metric: OwnMetric = "",
    max_drop: MaxDrop = None,
    target: Device = "host",
    threads: a.Threads = 1,
    timeout: a.Timeout = RUN_SECONDS,
    report: o.Report = None,
    report_format: o.ReportFormat = "",
    summary: o.Summary = None,
    junit: Junit = None,
    as_json: o.Json = False,
    quiet: o.Quiet = False,
    verbose: o.Verbose = False,
    no_color: o.NoColor = False,
) -> int:
    """Compare a model with its original: structure, numbers, decisions, accuracy, limits."""
    from ocompress.cli.sinks import Sinks, deliver
    from ocompress.io import data_files, model_files
    from ocompress.report import document, pages
    from ocompress.report.junit import junit as to_junit

    sources = [*model_files(reference), *model_files(candidate)]
    sources += [f for named in (data, labels, preprocess, gate) for f in data_files(named)]
    sinks = Sinks(report=report, form=report_format, summary=summary, junit=junit, as_json=as_json)
    sinks.check(sources)
    printer = Printer(
        quiet=quiet, as_json=as_json, taken=sinks.taken, color=not no_color, verbose=verbose
    )
    how = {"labels": labels, "samples": samples, "preprocess": preprocess, "max_drop": max_drop}
    how |= {"metric": metric or None, "gate": gate, "threads": threads}
    compare = _here(printer) if target == "host" else _there(target, printer)
    with time_limit(timeout):
        found, body, tables, page = compare(reference, candidate, data or None, how, verbose)
    settings = {"reference": str(reference), "candidate": str(candidate), "data": data or None}
    settings |= {"gate": str(gate) if gate else None, "metric": metric or None}
    given = {"max_drop": max_drop, "target": target if target != "host" else None}
    settings |= {name: value for name, value in given.items() if value is not None}
    body = document("validate", settings, body)
    sinks.write_report(body, title := f"ocompress validate {candidate}", page(settings))
    sinks.write_summary(title, pages.validation_summary(found))
    if junit is not None:
        deliver(junit, to_junit(str(candidate), found.checks))
    printer.answer(tables, body)
    return _exit_code(found, candidate)


def _exit_code(found: ValidationResult, candidate: Path) -> int:
    """Return the exit code, and complain of what does not pass."""
    if found.passed:
        return exits.DONE
    failed = "; ".join(dict.fromkeys(c.message or c.name for c in found.failures))
    why = f"does not pass: {failed}" if failed else f"was NOT COMPARED: {found.uncompared}"
    exits.complain(f"{str(candidate)!r} {why}")
    return exits.DONE if found.gate and not failed else exits.OVER_BUDGET


def _here(printer: Printer) -> Callable[..., Compared]:
    """Run both models on this machine."""

    def compare(
        reference: Path, candidate: Path, data: str | None, how: Mapping[str, Any], verbose: bool
    ) -> Compared:
        from ocompress import front
        from ocompress.cli.progress import Bars
        from ocompress.report import pages, tables_validation

        with Bars(printer) as bars:
            progress = functools.partial(bars.progress, "comparing")
            found = front.validate(reference, candidate, data, **how, progress=progress)
        tables = tables_validation.validation(found, verbose=verbose)
        return found, found.to_json(), tables, functools.partial(pages.validation, found)

    return compare


def _there(target: str, printer: Printer) -> Callable[..., Compared]:
    """Run both models on a device, and compare it with this machine."""

    def compare(
        reference: Path, candidate: Path, data: str | None, how: Mapping[str, Any], verbose: bool
    ) -> Compared:
        from ocompress import front
        from ocompress.cli.progress import Bars
        from ocompress.report import pages, tables_device

        with Bars(printer) as bars:
            progress = functools.partial(bars.progress, f"running on {target}")
            found = front.validate_on(target, reference, candidate, data, **how, progress=progress)
        tables = tables_device.device_validation(found, verbose=verbose)
        page = functools.partial(pages.device_validation, found)
        return found.validation, found.to_json(), tables, page

    return compare
