"""Validations on another machine, for the terminal."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from ocompress.report.figures import db_text
from ocompress.report.tables_validation import validation
from ocompress.validation import DeviceValidation, Flips, MachineComparison

_MOST = 10
"""Indices of samples that are printed in a row; the JSON report has all."""


def device_validation(
    found: DeviceValidation, *, verbose: bool = False
) -> Iterator[RenderableType]:
    """Return the machine, the candidate against the reference there, and there against here."""
    facts = found.facts
    yield Text(
        f"on {found.device}: {facts.machine}, ONNX Runtime {facts.onnxruntime}, "
        f"{facts.threads} thread{'s' if facts.threads != 1 else ''}",
        style="bold",
    )
    if verbose:
        yield Text(f"features: {' '.join(facts.features)}", style="dim")
    for remark in found.remarks:
        yield Text(f"note: {remark}", style="yellow")
    yield from validation(found.validation, verbose=verbose)
    yield Text(f"the same model there and here ({found.host}, {found.host_onnxruntime}):")
    yield _machines(found.machines)
    for machine in found.machines:
        if machine.error:
            yield Text(f"{machine.model}: {machine.error}", style="red")


def _machines(machines: tuple[MachineComparison, ...]) -> RenderableType:
    table = Table(box=None, pad_edge=False)
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
                db_text(output.sqnr_db),
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
