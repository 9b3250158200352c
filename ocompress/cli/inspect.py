"""`ocompress inspect`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ocompress.cli import arguments as a
from ocompress.cli import exits
from ocompress.cli import outputs as o
from ocompress.cli.console import Printer
from ocompress.cli.panels import MEASURING, flag
from ocompress.errors import OptionError
from ocompress.stopping import RUN_SECONDS, time_limit

Second = Annotated[
    Path | None,
    typer.Argument(help="With --quant: the quantized model."),
]
Quant = Annotated[
    bool,
    flag(
        "--quant",
        panel=MEASURING,
        text="Compare a quantized model with the float one, layer by layer.",
    ),
]
Alone = Annotated[
    bool,
    flag(
        "--sensitivity",
        panel=MEASURING,
        text="With --quant: also quantize one layer at a time (slow).",
    ),
]


def inspect(
    model: a.Subject,
    candidate: Second = None,
    data: a.Data = "",
    preprocess: a.Preprocess = None,
    samples: a.Samples = None,
    target: a.Target = "host",
    quant: Quant = False,
    sensitivity: Alone = False,
    timeout: a.Timeout = RUN_SECONDS,
    as_json: o.Json = False,
    quiet: o.Quiet = False,
    verbose: o.Verbose = False,
    no_color: o.NoColor = False,
) -> int:
    """Show what is in a model and what each pass would do to it; or where int8 loses quality."""
    from ocompress.cli.progress import Bars
    from ocompress.front.survey import survey
    from ocompress.report import document, tables_survey

    printer = Printer(quiet=quiet, as_json=as_json, color=not no_color, verbose=verbose)
    _check(candidate, quant=quant, sensitivity=sensitivity)
    if candidate is not None:
        how = {"samples": samples, "preprocess": preprocess, "measure_sensitivity": sensitivity}
        with time_limit(timeout):
            return _layers(printer, model, candidate, data, how)
    with time_limit(timeout), Bars(printer) as bars:
        found = survey(
            model,
            data=data or None,
            preprocess=preprocess,
            samples=samples,
            target=target,
            instruments=(bars,),
        )
    settings = {"model": str(model), "data": data or None, "target": target}
    printer.answer(
        tables_survey.survey(found, verbose=verbose), document("inspect", settings, found.to_json())
    )
    return exits.DONE


def _check(candidate: Path | None, *, quant: bool, sensitivity: bool) -> None:
    if quant and candidate is None:
        msg = "--quant compares two models; give the float one, then the quantized one"
        raise OptionError(msg)
    if not quant and (candidate is not None or sensitivity):
        msg = "a second model and --sensitivity need --quant; add it"
        raise OptionError(msg)


def _layers(printer: Printer, model: Path, candidate: Path, data: str, how: dict[str, Any]) -> int:
    """Compare a quantized model with its float one, layer by layer."""
    from ocompress.cli.progress import Bars
    from ocompress.front.debugging import debug_quantization
    from ocompress.report import document, tables_layers

    with Bars(printer) as bars:
        found = debug_quantization(model, candidate, data or None, **how, progress=bars.progress)
    settings = {"reference": str(model), "candidate": str(candidate), "data": data or None}
    body = {**found.to_json(), "suggestion": tables_layers.suggestion(found.worst)}
    printer.answer(
        tables_layers.layers(found, verbose=printer.verbose), document("inspect", settings, body)
    )
    return exits.DONE
