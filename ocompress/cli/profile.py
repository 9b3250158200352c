"""`ocompress profile`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from ocompress.cli import arguments as a
from ocompress.cli import exits
from ocompress.cli import outputs as o
from ocompress.cli.console import Printer
from ocompress.cli.panels import INPUT, MEASURING, flag, valued
from ocompress.stopping import RUN_SECONDS, time_limit

Against = Annotated[
    Path | None,
    valued(
        "--against",
        kind="FILE",
        panel=INPUT,
        text="Reference model to compare with; the two run in turns.",
    ),
]
PerNode = Annotated[
    bool, flag("--per-node", panel=MEASURING, text="Also time operators and layers.")
]
Seconds = Annotated[
    float,
    valued("--seconds", kind="SECONDS", panel=MEASURING, text="Time to spend on each model."),
]


def profile(
    model: a.Subject,
    against: Against = None,
    data: a.Data = "",
    preprocess: a.Preprocess = None,
    shape: a.Shape = None,
    per_node: PerNode = False,
    threads: a.Threads = 1,
    batch: a.Batch = 1,
    timeout: a.Timeout = RUN_SECONDS,
    seconds: Seconds = 2.5,
    report: o.Report = None,
    report_format: o.ReportFormat = "",
    as_json: o.Json = False,
    quiet: o.Quiet = False,
    no_color: o.NoColor = False,
) -> int:
    """Measure latency, memory, size and work of a model, beside a reference if one is given."""
    from ocompress import front
    from ocompress.cli.sinks import Sinks
    from ocompress.io import data_files, model_files
    from ocompress.report import document, pages, tables_profile

    shapes = _shapes(shape or (), data, batch)
    sources = [*model_files(model), *data_files(data), *data_files(preprocess)]
    sources += model_files(against) if against is not None else []
    sinks = Sinks(report=report, form=report_format, as_json=as_json)
    sinks.check(sources)
    with time_limit(timeout):
        found = front.profile(
            model,
            against=against,
            data=data or None,
            shapes=shapes or None,
            threads=threads,
            batch=batch,
            per_node=per_node,
            seconds=seconds,
            preprocess=preprocess,
        )
    settings = {"model": str(model), "against": str(against) if against else None}
    settings |= {"data": data or None}
    body = document("profile", settings, found.to_json())
    sinks.write_report(body, f"ocompress profile {model}", pages.profile(found, settings))
    printer = Printer(quiet=quiet, as_json=as_json, taken=sinks.taken, color=not no_color)
    printer.answer(tables_profile.profile(found), body)
    return exits.DONE


def _shapes(given: Sequence[str], data: str, batch: int) -> dict[str, tuple[int, ...]]:
    """Return the shapes of inputs that are given, by name.

    Raises:
        OptionError: If one is given twice, or something else says the shapes, too.
    """
    from ocompress.errors import OptionError
    from ocompress.profiling import parse_shape

    if data and given:
        msg = "--data and --shape are mutually exclusive; give one"
        raise OptionError(msg)
    if given and batch > 1:
        msg = "--batch and --shape are mutually exclusive; a shape includes the batch"
        raise OptionError(msg)
    named = [parse_shape(text) for text in given]
    shapes = dict(named)
    if len(shapes) < len(named):
        msg = "--shape names an input twice; give one shape for each"
        raise OptionError(msg)
    return shapes
