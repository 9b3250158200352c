"""An optimization for the terminal, and what its pages are made of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from ocompress.diagnostics import Remark
from ocompress.errors import UnknownPassError
from ocompress.pipeline import Family, PassRecord, Status, Verdict, choices_of, find
from ocompress.report import tables_plan
from ocompress.report.figures import byte_text
from ocompress.report.optimization import Optimization
from ocompress.report.parts import STYLES, Heading, Note, Tone, facts
from ocompress.report.sheet import Sheet
from ocompress.report.tables_candidates import candidates
from ocompress.report.tables_choices import explained
from ocompress.report.tables_cuts import cuts
from ocompress.report.tables_outcome import before_and_after
from ocompress.report.tables_quant import placements, stored
from ocompress.report.tables_remarks import grouped
from ocompress.report.tables_shared import shared

_STYLES = {
    Status.APPLIED: STYLES[Tone.GOOD],
    Status.UNCHANGED: STYLES[Tone.MIXED],
    Status.ROLLED_BACK: STYLES[Tone.BAD],
}

_NOTHING = "nothing in the model matches what it looks for"


def settings(resolved: Mapping[str, Any]) -> Table:
    """Return the settings that count, one line each."""
    return facts((key.replace("_", " "), value) for key, value in resolved.items())


def optimization(
    done: Optimization, *, verbose: bool = False, explain: bool = False
) -> Iterator[RenderableType]:
    """Return the tables of an optimization: passes, layers, before and after, and notes.

    Args:
        done: The record.
        verbose: Whether all that was tried and said of nodes is shown.
        explain: Whether it is said why each layer is as it is.
    """
    yield passes(done)
    for record in done.pipeline.records:
        yield from layers(record, every=verbose)
    if verbose:
        for speaker, said in remarks(done):
            name = speaker.name if speaker is not None else "other passes"
            yield Heading(f"{name}, node by node", 3)
            yield from grouped(said, named=speaker is None)
    yield from tried(done)
    if explain:
        yield from explained(choices_of(done.pipeline), 3)
    if done.plan is not None:
        yield from tables_plan.plan(done.plan, every=verbose)
    yield Text("")
    yield before_and_after(done)
    yield from notes(done)


def layers(record: PassRecord, *, every: bool) -> Iterator[RenderableType]:
    """Return what a pass did layer by layer.

    Args:
        record: The pass.
        every: Whether to show all there is to say; else what a terminal holds.
    """
    yield from cuts(record, every=every)
    yield from candidates(record, every=every)
    if every:
        yield from placements(record)
        yield from stored(record)
        yield from shared(record)


def tried(done: Optimization) -> Iterator[RenderableType]:
    """Return what was tried, where that was more than what was asked for."""
    if not done.tried:
        return
    table = Sheet()
    table.add_column("tried", overflow="fold")
    table.add_column("latency", justify="right", no_wrap=True)
    table.add_column("size", justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for one in done.tried:
        latency = "" if one.latency_ratio is None else f"{one.latency_ratio:.2f}"
        mark = Text("kept", style=STYLES[Tone.GOOD]) if one.kept else Text("")
        table.add_row(Text(one.passes), latency, f"{one.size_ratio:.2f}", mark)
    yield table


def notes(done: Optimization) -> Iterator[RenderableType]:
    """Return what else a reader must know."""
    for sentence in done.remarks:
        yield Note(sentence)


def passes(done: Optimization) -> Table:
    """Return one row per pass: what it did, what it left alone, and what guards found."""
    table = Sheet()
    for heading, right in (("pass", False), ("result", False), ("nodes", True), ("weights", True)):
        table.add_column(heading, justify="right" if right else "left", no_wrap=True)
    table.add_column("time", justify="right", no_wrap=True)
    table.add_column("what", overflow="fold")
    for record in done.pipeline.records:
        table.add_row(
            record.name,
            Text(record.status.value, style=_STYLES[record.status]),
            _change(record.nodes, str),
            _change(record.weight_bytes, byte_text),
            f"{record.seconds:.2f} s",
            escape("; ".join(_story(done, record))),
        )
    return table


def _change(pair: tuple[int, int], text: Any) -> str:
    before, after = (text(n) for n in pair)
    return before if before == after else f"{before} -> {after}"


def _story(done: Optimization, record: PassRecord) -> Iterator[str]:
    if record.counts:
        yield _counted(record.counts)
    yield from _sparsity(record)
    yield from _goals(record)
    declined = done.declined(record)
    if declined:
        yield f"left alone: {_counted(declined)}"
    held = [v for v in record.verdicts if v.held]
    figures = [text for v in held for text in _figures(v)]
    if figures:
        yield f"within budget: {', '.join(figures)}"
    for verdict in record.verdicts:
        if not verdict.held:
            yield f"REFUSED by {verdict.guard}: {verdict.message}"
    if _silent(done, record):
        yield _NOTHING


def _sparsity(record: PassRecord) -> Iterator[str]:
    """Yield the share of zeros among the weights of all layers, where the pass says so."""
    share = record.details.get("sparsity")
    if isinstance(share, float) and "goals" not in record.details:  # which say it themselves
        yield f"{share:.1%} of the weights of all layers are zero"


def _goals(record: PassRecord) -> Iterator[str]:
    """Yield how far the goals that options set were reached."""
    for row in record.details.get("goals", ()):
        if row["reached"] is not None:
            word = "NOT REACHED: " if row["missed"] else ""
            yield f"{word}{row['goal']}={row['asked']:g}, {row['reached']:.4g} {row['unit']}"


def _figures(verdict: Verdict) -> Iterator[str]:
    if "ratio" in verdict.figures:
        yield f"{verdict.guard} {verdict.figures['ratio']:.2f}"
    if "drop" in verdict.figures:
        drop, limit = (100 * verdict.figures[name] for name in ("drop", "limit"))
        yield f"drop {drop:.2f} of {limit:.2f} points"


def _silent(done: Optimization, record: PassRecord) -> bool:
    """Tell whether a pass changed nothing and named nothing that it left alone."""
    idle = record.status is Status.UNCHANGED and not record.counts
    return idle and not done.declined(record)


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{what} {count}" for what, count in counts.items())


def one_pass(done: Optimization, record: PassRecord) -> Table:
    """Return what there is to say of a pass, in full."""
    pairs: list[tuple[str, object]] = [
        ("as asked", record.text),
        ("result", Text(record.status.value, style=_STYLES[record.status])),
        ("tried" if record.status is Status.ROLLED_BACK else "done", _counted(record.counts)),
        ("left alone", _counted(done.declined(record))),
    ]
    pairs += [("zeros", text) for text in _sparsity(record)]
    pairs += [("goal", text) for text in _goals(record)]
    if _silent(done, record):
        pairs.append(("done", _NOTHING))
    for verdict in record.verdicts:
        word, style = ("held", "") if verdict.held else ("REFUSED", STYLES[Tone.BAD])
        pairs.append((verdict.guard, Text(f"{word}: {verdict.message}", style=style)))
    return facts(pairs)


def remarks(done: Optimization) -> Iterator[tuple[PassRecord | None, list[Remark]]]:
    """Return for each pass what it and its members said; at last, without one, what others said."""
    said: dict[str, list[Remark]] = {}
    for remark in done.pipeline.diagnostics:
        said.setdefault(remark.source, []).append(remark)
    for record in done.pipeline.records:
        found = [r for name in (record.name, *_members(record.name)) for r in said.pop(name, ())]
        if found:
            yield record, found
    rest = [remark for others in said.values() for remark in others]
    if rest:
        yield None, rest


def _members(name: str) -> tuple[str, ...]:
    try:
        cls = find(name)
    except UnknownPassError:  # passes that are called from Python need no name that is known
        return ()
    return cls.members if issubclass(cls, Family) else ()
