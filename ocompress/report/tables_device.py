"""Validations on another machine, for the terminal."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import RenderableType
from rich.text import Text

from ocompress.report.figures import sqnr_text
from ocompress.report.parts import STYLES, Note, Tone
from ocompress.report.sheet import Sheet
from ocompress.report.tables_validation import validation
from ocompress.validation import DeviceValidation, Flips, MachineComparison
from ocompress.wording import counted

_MOST = 10
"""Indices of samples that are printed in a row; the JSON report has all."""


def device_validation(
    found: DeviceValidation, *, verbose: bool = False
) -> Iterator[RenderableType]:
    """Return the machine, the candidate against the reference there, and there against here."""
    yield Text(f"on {found.device}: {_machine(found)}", style="bold")
    if verbose:
        yield Text(f"features: {' '.join(found.facts.features)}", style="dim")
    yield from notes(found)
    yield from validation(found.validation, verbose=verbose)
    yield Text(f"the same model there and here ({_here(found)}):")
    yield from machines(found)


def notes(found: DeviceValidation) -> Iterator[RenderableType]:
    """Return what to keep in mind."""
    for remark in found.remarks:
        yield Note(remark)


def where(found: DeviceValidation) -> Iterator[tuple[str, str]]:
    """Return where the models ran."""
    yield "device", f"{found.device}: {_machine(found)}"
    yield "features", " ".join(found.facts.features)
    yield "here", _here(found)


def _machine(found: DeviceValidation) -> str:
    facts = found.facts
    threads = counted(facts.threads, "thread")
    return f"{facts.machine}, ONNX Runtime {facts.onnxruntime}, {threads}"


def _here(found: DeviceValidation) -> str:
    return f"{found.host}, ONNX Runtime {found.host_onnxruntime}"


def machines(found: DeviceValidation) -> Iterator[RenderableType]:
    """Return the same model there against here."""
    yield _machines(found.machines)
    for machine in found.machines:
        if machine.error:
            yield Text(f"{machine.model}: {machine.error}", style=STYLES[Tone.BAD])


def _machines(machines: tuple[MachineComparison, ...]) -> RenderableType:
    table = Sheet()
    table.add_column("model", no_wrap=True)
    table.add_column("output", overflow="fold")
    for heading in ("SQNR", "max difference", "other decisions"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("samples", overflow="fold")
    for machine in machines:
        flips = {f.output: f for f in machine.flips}
        for output in machine.outputs:
            flip = flips[output.name]
            table.add_row(
                machine.model,
                Text(output.name),
                sqnr_text(output),
                f"{output.max_abs_error:.3g}",
                Text(_count(flip), style="red" if flip.count else "green"),
                _samples(flip),
            )
    return table


def _count(flip: Flips) -> str:
    return f"{flip.count} ({100 * flip.fraction:.2f} %)"


def _samples(flip: Flips) -> str:
    shown = ", ".join(str(i) for i in flip.samples[:_MOST])
    return f"{shown}, ..." if flip.count > _MOST else shown
