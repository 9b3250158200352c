"""Validations for the terminal."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from ocompress.report.figures import db_text, share_text
from ocompress.validation import Check, LevelResult, ScoreComparison, ValidationResult


def validation(found: ValidationResult, *, verbose: bool = False) -> Iterator[RenderableType]:
    """Return checks, outputs per optimization level, scores, and a closing line."""
    yield _checks(found, verbose)
    if found.levels:
        yield Text(f"{found.samples} samples in {found.feeds} feeds from {found.source}")
        yield _outputs(found.levels)
        yield from _scores(found.levels)
    if verbose:
        yield from _worst(found.levels)
    for remark in found.remarks:
        yield Text(f"note: {remark}", style="yellow")
    if found.passed:
        yield Text("passed", style="bold green")
    else:
        yield Text(f"failed: {len(found.failures)} checks", style="bold red")


def _checks(found: ValidationResult, verbose: bool) -> RenderableType:
    table = Table(box=None, pad_edge=False)
    table.add_column("check", no_wrap=True)
    table.add_column("")
    for heading in ("limit", "found"):
        table.add_column(heading, justify="right")
    table.add_column("", overflow="fold")
    for check in (*found.structure, *found.gate):
        mark = Text("ok", style="green") if check.passed else Text("FAILED", style="red")
        message = check.message if verbose or not check.passed else ""
        table.add_row(Text(check.name), mark, *map(Text, _figures(check)), Text(message))
    return table


def _figures(check: Check) -> tuple[str, str]:
    def text(value: object) -> str:
        if value is None:
            return ""
        return f"{value:.5g}" if isinstance(value, float) else str(value)

    return text(check.limit), text(check.value)


def _outputs(levels: tuple[LevelResult, ...]) -> RenderableType:
    table = Table(box=None, pad_edge=False)
    table.add_column("output", overflow="fold")
    for heading in ("level", "SQNR", "max error", "mean error", "cosine", "agreement"):
        table.add_column(heading, justify="right", no_wrap=True)
    for level in levels:
        for output in level.outputs:
            agreement = share_text(output.agreement) if output.agreement is not None else ""
            table.add_row(
                Text(output.name),
                level.level.value,
                db_text(output.sqnr_db),
                f"{output.max_abs_error:.3g}",
                f"{output.mean_abs_error:.3g}",
                f"{output.cosine:.6f}",
                agreement,
            )
    return table


def _scores(levels: tuple[LevelResult, ...]) -> Iterator[RenderableType]:
    for level in levels:
        for score in (level.accuracy, level.metric):
            if score is not None:
                yield Text(f"{score.name} ({level.level.value}): {_score(score)}")


def _score(score: ScoreComparison) -> str:
    drop = score.drop
    return (
        f"{score.reference:.4f} -> {score.candidate:.4f}, drop {drop.value:+.4f} "
        f"({drop.low:+.4f} to {drop.high:+.4f}) over {score.count}"
    )


def _worst(levels: tuple[LevelResult, ...]) -> Iterator[RenderableType]:
    for level in levels[:1]:
        for sample in level.worst:
            same = "same decision" if sample.agrees else "OTHER DECISION"
            yield Text(
                f"worst: sample {sample.index}, {sample.output}: {db_text(sample.sqnr_db)}, {same}"
            )
