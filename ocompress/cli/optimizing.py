"""What `ocompress optimize` does once its options are read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ocompress.cli import exits
from ocompress.cli.console import Printer
from ocompress.cli.progress import Bars
from ocompress.cli.sinks import STDOUT, Sinks
from ocompress.errors import OptionError
from ocompress.front import Planning, Request, optimize_planned, run
from ocompress.io import atomic_write, depfile, model_files
from ocompress.pipeline import Dump, Instrument
from ocompress.report import Optimization, document, pages, tables, tables_outcome


@dataclass(frozen=True)
class Files:
    """The models of one call."""

    model: Path
    output: Path


def perform(
    command: str,
    request: Request,
    files: Files,
    sinks: Sinks,
    printer: Printer,
    *,
    dump: Path | None = None,
    planning: Planning | None = None,
) -> int:
    """Optimize, write the reports, print the summary, and return the exit code."""
    checked(request, planning)
    sources = [*model_files(files.model), *request.files]
    sources += planning.files if planning is not None else []
    weights = files.output.with_name(f"{files.output.name}.data")
    sinks.check([*sources, files.output, weights])
    wanted = {} if planning is None else planning.settings()
    shown = {
        "model": str(files.model),
        "output": str(files.output),
        **request.settings(planned=planning is not None),
        **wanted,
    }
    printer.say(tables.settings(shown))
    with Bars(printer) as bars:
        hooks: list[Instrument] = [bars]
        if dump is not None:
            hooks.append(Dump(dump))
        if planning is None:
            done = run(request, files.model, files.output, instruments=hooks)
        else:
            done = optimize_planned(request, planning, files.model, files.output, instruments=hooks)
    failures = [*done.broken, *(_idle(done) if request.strict else ())]
    report = document(command, {**done.settings, "strict": request.strict}, done.to_json())
    title = f"ocompress {command} {files.model}"
    sinks.write_report(report, title, pages.optimization(done, shown, failures))
    sinks.write_summary(title, pages.optimization_summary(done, failures))
    if sinks.depfile is not None:
        made = model_files(files.output) if done.output is not None else [files.output]
        atomic_write(sinks.depfile, depfile(made, sources), touch=True)
    shown_parts = tables.optimization(done, verbose=printer.verbose, explain=printer.explain)
    printer.answer(shown_parts, report)
    printer.say(tables_outcome.closing(done))
    if failures:
        exits.complain(f"{'; '.join(failures)}; {_left_behind(done)}")
    return exits.OVER_BUDGET if failures else exits.DONE


def checked(request: Request, planning: Planning | None) -> None:
    """Check a request before work starts.

    Raises:
        UsageError: If it cannot be done.
    """
    if planning is None:
        request.check()
    else:
        planning.check(request)


def _idle(done: Optimization) -> list[str]:
    names = ", ".join(r.name for r in done.idle)
    return [f"with --strict every pass must change something, but {names} did not"] if names else []


def _left_behind(done: Optimization) -> str:
    if done.output is None and done.validation.collapsed:
        return "nothing was written, as no model on the way does what the original does"
    if done.output is None:
        return "nothing was written; --on-fail keep writes the best result reached"
    return (
        f"the best result reached is in {str(done.output)!r}, dated before its inputs so that a "
        "build makes it again"
    )


def files_of(
    model: Path | None,
    output: Path | None,
    model_option: Path | None,
    output_option: Path | None,
) -> Files:
    """Put together the models named by position and by option.

    Raises:
        OptionError: If one is missing or named twice.
    """
    if model_option is not None and output is None and output_option is None:
        model, output = None, model  # `-m in.onnx out.onnx`
    files = Files(_one("model", model, model_option), _one("output", output, output_option))
    for what, path in (("model", files.model), ("output", files.output)):
        if path == STDOUT:
            msg = f"the {what} cannot be -; models are read and written in files only"
            raise OptionError(msg)
    return files


def _one(what: str, positional: Path | None, named: Path | None) -> Path:
    given = [p for p in (positional, named) if p is not None]
    if len(given) != 1:
        wrong = "is given twice; give it once" if given else "is missing; name a file"
        msg = f"the {what} {wrong}"
        raise OptionError(msg)
    return given[0]
