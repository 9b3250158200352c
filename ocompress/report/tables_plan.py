"""What a plan is, what else was tried, and why it lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from rich.console import RenderableType
from rich.text import Text

from ocompress.auto import Plan, PlanGoal, PlanTrial
from ocompress.pipeline.pipeline import FIRST
from ocompress.report import tables_front
from ocompress.report.figures import byte_text
from ocompress.report.parts import Bar, Closing, Figure, Figures, Fold, Heading, Note, Tone
from ocompress.report.sheet import Sheet
from ocompress.report.tables_choices import explained

_MOST_ROWS = 12


def described(trial: PlanTrial, goal: PlanGoal) -> str:
    """Return the figure of a trial that a goal makes small, for people."""
    if goal is PlanGoal.LATENCY:
        return "not timed" if trial.latency is None else f"{trial.latency:.3f} times the latency"
    if goal is PlanGoal.MEMORY:
        return "not measured" if trial.memory is None else f"{byte_text(trial.memory)} of memory"
    size = trial.archive if goal is PlanGoal.ARCHIVE else trial.size
    return "not coded" if size is None else byte_text(size)


def plan(found: Plan, *, every: bool = False) -> Iterator[RenderableType]:
    """Return the plan, the trials that no other beats, and the rest where there is room.

    Args:
        found: The plan.
        every: Whether all trials are shown; else what a terminal holds.
    """
    yield Heading("Plan")
    yield _passes(found)
    count, seconds = sum(not t.idle for t in found.trials), found.seconds
    if found.measured:
        yield _compared(found)
    yield Text(f"for {found.goal}, the best of {count} models measured in {seconds:.0f} s")
    yield from tables_front.waterfall(found)
    yield from tables_front.drawn(found, every=every)
    yield from tables_front.peers(found)
    yield Heading("Family by family", 3)
    yield _families(found)
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


def _compared(found: Plan) -> Figures:
    """Return what was predicted of the plan beside what came of it."""
    rows = []
    trial, measured = found.chosen, found.measured
    kinds: list[tuple[str, float | None, str, Callable[[float], str]]] = [
        ("latency over the original's", trial.latency, "latency_ratio", "{:.3f}".format),
        (f"points of {found.noun} lost", trial.drop, "drop", lambda v: f"{100 * v:.2f}"),
        ("file size", float(trial.size) or None, "bytes", lambda v: byte_text(int(v))),
        ("archive", trial.archive, "archive_bytes", lambda v: byte_text(int(v))),
    ]
    for label, before, name, text in kinds:
        after = measured.get(name)
        if before is not None and after is not None:
            ratio = f"{after / before:.2f}" if before > 0 and name != "drop" else ""
            rows.append(Figure(label, text(after), text(before), ratio))
    return Figures(tuple(rows), heads=("predicted", "measured", "ratio"))


def _families(found: Plan) -> Sheet:
    """Return for each family what was chosen of it, or the best with it and why that lost."""
    table = Sheet()
    table.add_column("family", no_wrap=True)
    table.add_column("chosen", overflow="fold")
    table.add_column("the best otherwise", overflow="fold")
    table.add_column("why", overflow="fold")
    by_name: dict[str, list[PlanTrial]] = {}
    for trial in found.trials:
        for name in dict.fromkeys(s.family.name for s in trial.chain.steps):
            by_name.setdefault(name, []).append(trial)
    for name, trials in by_name.items():
        table.add_row(*map(Text, (name, *_explained(found, name, trials))))
    return table


def _explained(found: Plan, name: str, trials: Sequence[PlanTrial]) -> tuple[str, str, str]:
    chosen = next((str(s) for s in found.chosen.chain.steps if s.family.name == name), "")
    items = {s.family.item for t in trials for s in t.chain.steps if s.family.name == name}
    does = [t for t in trials if not items & set(t.idle)]
    if not does:
        return chosen, "", "it changes nothing in this model"
    others = [t for t in does if t is not found.chosen]
    ranked = sorted(others, key=lambda t: (not t.held, t.value(found.goal)))
    if not ranked:
        return chosen, "", ""
    best = ranked[0]
    told = f"{best.chain}: {described(best, found.goal)}"
    why = found.why_passed_over(best) or best.why
    if why:
        return chosen, told, why
    now, then = found.chosen.value(found.goal), best.value(found.goal)
    if then >= now:
        return chosen, told, f"{then / max(now, 1e-30) - 1:.0%} more than the plan"
    return chosen, told, "about as good as the plan, and worse otherwise"


def _trials(found: Plan, shown: Sequence[PlanTrial]) -> Sheet:
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


def _verdict(found: Plan, trial: PlanTrial) -> str:
    if trial is found.chosen:
        return "chosen"
    return found.why_passed_over(trial) or trial.why or "holds"


def page(found: Plan, recipe: str, *, explain: bool = False) -> Iterator[RenderableType]:
    """Return a plan for the terminal.

    Args:
        found: The plan.
        recipe: Its text, empty if it went to a file.
        explain: Whether it says why each layer is as it is.
    """
    yield from plan(found)
    if explain:
        yield from explained(found.choices, 3)
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
