"""Validations for the terminal."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from ocompress.report.figures import db_text, points_text, share_text, sqnr_text
from ocompress.report.parts import STYLES, Closing, Fold, Note, Tone
from ocompress.report.sheet import Sheet
from ocompress.validation import (
    Check,
    LevelResult,
    Loss,
    LossUnit,
    OutputComparison,
    ScoreComparison,
    ValidationResult,
)
from ocompress.wording import counted

_PLAIN = (LossUnit.EXPECTED, LossUnit.AGREEMENT)
"""Units that need no reason."""


def validation(found: ValidationResult, *, verbose: bool = False) -> Iterator[RenderableType]:
    """Return checks, outputs per optimization level, scores, and a closing line."""
    yield checks(found, every=verbose)
    if found.levels:
        yield Text(compared_on(found))
        yield from outputs(found)
    if verbose:
        yield from worst(found)
    yield from notes(found)
    yield closing(found)


def closing(found: ValidationResult) -> Closing:
    """Return whether it passed, and what does not hold."""
    count = len(found.held_to)
    if found.passed:
        return Closing(Tone.GOOD, "Passed", f"passed: {counted(count, 'check')}")
    reasons = tuple(check.message or check.name for check in found.failures)
    if reasons:
        return Closing(Tone.BAD, "Failed", f"failed: {counted(len(reasons), 'check')}", reasons)
    what = "structure and gate" if found.gate else "structure"
    line = f"outputs were NOT COMPARED; {counted(count, 'check')} of the {what} hold"
    return Closing(Tone.MIXED, "Not compared", line, (found.uncompared,))


def notes(found: ValidationResult) -> Iterator[RenderableType]:
    """Return what was left out and why."""
    for remark in found.remarks:
        yield Note(remark)


def compared_on(found: ValidationResult) -> str:
    """Return what outputs were compared on, empty if they were not."""
    if not found.levels:
        return ""
    samples, feeds = counted(found.samples, "sample"), counted(found.feeds, "feed")
    return f"{samples} in {feeds} from {found.source}"


def checks(found: ValidationResult, *, every: bool) -> Table:
    """Return one row per check; what those that hold say only if `every`."""
    table = Sheet()
    table.add_column("check", no_wrap=True)
    table.add_column("result", no_wrap=True)
    for heading in ("limit", "found"):
        table.add_column(heading, justify="right")
    table.add_column("why", overflow="fold")
    for check in found.held_to:
        mark = Text("ok", style="green") if check.passed else Text("FAILED", style="red")
        message = check.message if every or not check.passed else ""
        table.add_row(Text(check.name), mark, *map(Text, _figures(check)), Text(message))
    return table


def _figures(check: Check) -> tuple[str, str]:
    def text(value: object) -> str:
        if value is None:
            return ""
        return f"{value:.5g}" if isinstance(value, float) else str(value)

    return text(check.limit), text(check.value)


def outputs(found: ValidationResult) -> Iterator[RenderableType]:
    """Return one row per output and level, and the scores."""
    yield _outputs(found.levels)
    yield from _scores(found.levels)


def _outputs(levels: tuple[LevelResult, ...]) -> RenderableType:
    table = Sheet()
    table.add_column("output", overflow="fold")
    for heading in ("level", "SQNR", "max error", "mean error", "cosine", "agreement"):
        table.add_column(heading, justify="right", no_wrap=True)
    for level in levels:
        for output in level.outputs:
            counted = None if output.is_empty else output.agreement
            agreement = share_text(counted) if counted is not None else ""
            table.add_row(
                Text(output.name),
                level.level.value,
                sqnr_text(output),
                f"{output.max_abs_error:.3g}",
                f"{output.mean_abs_error:.3g}",
                f"{output.cosine:.6f}",
                agreement,
            )
    return table


def _scores(levels: tuple[LevelResult, ...]) -> Iterator[RenderableType]:
    for level in levels:
        for output in level.outputs:
            for lost in () if output.is_empty else output.losses:
                yield Text(f"{_place(output, lost)} ({level.level.value}): {_lost(lost)}")
        for score in (level.accuracy, level.metric):
            if score is not None:
                yield Text(f"{score.name} ({level.level.value}): {_score(score)}")


def _place(output: OutputComparison, lost: Loss) -> str:
    part = f" {lost.part}" if lost.part else ""
    return f"{LossUnit(lost.unit).noun} of {output.name}{part}"


def _lost(lost: Loss) -> str:
    found = f"lost {points_text(lost.drop)} over {counted(lost.count, 'sample')}"
    if lost.why and lost.unit not in _PLAIN:
        found += f" ({lost.why})"
    if lost.temperature == 1:
        return found
    return f"{found}, corrected by labels (temperature {lost.temperature:.2f})"


def _score(score: ScoreComparison) -> str:
    drop = score.drop
    return (
        f"{score.reference:.4f} -> {score.candidate:.4f}, drop {drop.value:+.4f} "
        f"({drop.low:+.4f} to {drop.high:+.4f}) over {score.count}"
        f"{' labelled samples' if score.unlabelled else ''}"
    )


def worst(found: ValidationResult) -> Iterator[RenderableType]:
    """Return the samples on which the candidate is furthest from the reference."""
    for level in found.levels[:1]:
        if not level.worst:
            continue
        table = Sheet()
        table.add_column("sample", justify="right", no_wrap=True)
        table.add_column("output", overflow="fold")
        table.add_column("SQNR", justify="right", no_wrap=True)
        table.add_column("decision", no_wrap=True)
        for sample in level.worst:
            mark = Text("same") if sample.agrees else Text("OTHER", style=STYLES[Tone.BAD])
            figures = (str(sample.index), Text(sample.output), db_text(sample.sqnr_db))
            table.add_row(*figures, mark)
        yield Fold(f"samples that are furthest off: {len(level.worst)}", (table,))
