"""What a plan is, what else was tried, and why it lost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import RenderableType
from rich.text import Text

from ocompress.auto import Goal, Plan, Trial
from ocompress.pipeline.pipeline import FIRST
from ocompress.report.figures import byte_text
from ocompress.report.parts import Bar, Closing, Fold, Heading, Note, Tone
from ocompress.report.sheet import Sheet

_MOST_ROWS = 12


def described(trial: Trial, goal: Goal) -> str:
    """Return the figure of a trial that a goal makes small, for people."""
    if goal is Goal.LATENCY:
        return "not timed" if trial.latency is None else f"{trial.latency:.3f} times the latency"
    if goal is Goal.MEMORY:
        return "not measured" if trial.memory is None else f"{byte_text(trial.memory)} of memory"
    size = trial.archive if goal is Goal.ARCHIVE else trial.size
    return "not coded" if size is None else byte_text(size)


def plan(found: Plan, *, every: bool = False) -> Iterator[RenderableType]:
    """Return the plan, the trials that no other beats, and the rest where there is room.

    Args:
        found: The plan.
        every: Whether all trials are shown; else what a terminal holds.
    """
    yield Heading("Plan")
    yield _passes(found)
    count, seconds = len(found.trials), found.seconds
    yield Text(f"for {found.goal}, the best of {count} models measured in {seconds:.0f} s")
    best = found.front
    if best:
        yield Heading("Best for each drop", 3)
        yield _trials(found, best if every else best[-_MOST_ROWS:])
    lost = [t for t in found.trials if t not in best]
    if every and lost:
        summary = f"{len(lost)} others, each beaten in both"
        yield Fold(summary, (_trials(found, lost),))


def _passes(found: Plan) -> Sheet:
    table = Sheet()
    table.add_column("pass", no_wrap=True)
    table.add_column("options", overflow="fold")
    for item in found.pipeline.passes:
        if item.name != FIRST or len(found.pipeline.passes) == 1:
            options = str(item).removeprefix(item.name).strip("{}")
            table.add_row(Text(item.name), Text(options or "as by default"))
    return table


def _trials(found: Plan, shown: Sequence[Trial]) -> Sheet:
    table = Sheet()
    table.add_column("passes", overflow="fold")
    table.add_column(f"drop, points of {found.noun}", justify="right")
    table.add_column("time", justify="right", no_wrap=True)
    table.add_column("")
    table.add_column("bytes", justify="right", no_wrap=True)
    coded = any(t.archive is not None for t in shown)
    if coded:
        table.add_column("archive", justify="right", no_wrap=True)
    table.add_column("verdict", overflow="fold")
    for trial in shown:
        known = trial.latency is not None
        cells: list[RenderableType] = [
            Text(str(trial.chain)),
            Text("" if trial.drop is None else f"{100 * trial.drop:.2f}"),
            Text(f"{trial.latency:.3f}" if known else ""),
            Bar(trial.latency, 1.0) if trial.latency is not None else Text(""),
            Text(byte_text(trial.size) if trial.size else ""),
        ]
        if coded:
            cells.append(Text("" if trial.archive is None else byte_text(trial.archive)))
        table.add_row(*cells, Text(_verdict(found, trial)))
    return table


def _verdict(found: Plan, trial: Trial) -> str:
    if trial is found.chosen:
        return "chosen"
    if trial in found.passed_over:
        return "did not hold on the samples that judge"
    return trial.why or "holds"


def page(found: Plan, recipe: str) -> Iterator[RenderableType]:
    """Return a plan for the terminal.

    Args:
        found: The plan.
        recipe: Its text, empty if it went to a file.
    """
    yield from plan(found)
    for sentence in found.remarks:
        yield Note(sentence)
    if recipe:
        yield Heading("Recipe", 3)
        yield Text(recipe)


def closing(found: Plan, output: Path | None) -> Closing:
    """Return how a plan ended, in a line."""
    where = f"wrote {output}: " if output is not None else ""
    told = described(found.chosen, found.goal)
    line = f"{where}{found.chosen.chain}: {told} predicted{_loss(found)}"
    return Closing(Tone.GOOD if found.chosen.chain.steps else Tone.MIXED, "planned", line)


def _loss(found: Plan) -> str:
    drop = found.chosen.drop
    return "" if drop is None else f", {100 * drop:.2f} points of {found.noun}"
