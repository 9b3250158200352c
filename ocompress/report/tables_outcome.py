"""What an optimization is worth, and how it ended."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ocompress.pipeline import Status
from ocompress.pipeline.pipeline import FIRST
from ocompress.report.figures import (
    byte_text,
    count_text,
    macs_text,
    points_text,
    ratio_text,
    share_text,
    sqnr_text,
)
from ocompress.report.optimization import Optimization
from ocompress.report.parts import Closing, Figure, Figures, Tone
from ocompress.validation import LevelResult, LossUnit, OutputComparison, ScoreComparison
from ocompress.wording import counted


def before_and_after(done: Optimization) -> Figures:
    """Return what was gained and what it cost."""
    (cost, new_cost), (size, new_size) = done.cost, done.bytes
    rows = [_pair("file size", size, new_size, (byte_text(size), byte_text(new_size)), True)]
    rows += _other_forms(done)
    for label, name in (("parameters", "parameters"), ("not zero", "nonzero")):
        old, new = getattr(cost, name), getattr(new_cost, name)
        rows.append(_pair(label, old, new, (count_text(old), count_text(new)), False))
    known = not (cost.unknown or new_cost.unknown)  # lower bounds have no ratio
    macs = (cost.total_macs, new_cost.total_macs) if known else (0, 0)
    rows.append(_pair("multiply-adds", *macs, (macs_text(cost), macs_text(new_cost)), True))
    rows.append(_latency(done))
    if done.validation.levels:
        rows.append(Figure("judged on", _judged_on(done)))
    for level in done.validation.levels[:1]:
        rows += quality(level)
    return Figures(tuple(rows))


def _other_forms(done: Optimization) -> Iterator[Figure]:
    """Return what the result would take in the forms that it is not in."""
    size, new_size = done.bytes
    sizes = {} if done.coded is None else done.coded.sizes
    for ending, other in sizes.items():
        if other != new_size:
            texts = byte_text(size), byte_text(other)
            yield _pair(f"as {ending}", size, other, texts, False)


def _pair(label: str, old: float, new: float, texts: tuple[str, str], headline: bool) -> Figure:
    share = new / old if old else None
    return Figure(label, texts[1], texts[0], ratio_text(old, new), share, headline)


def _latency(done: Optimization) -> Figure:
    found = done.profile
    if found is None or found.against is None or found.ratio is None:
        return Figure("latency p50", "not measured", headline=True)
    samples = found.model.latency.samples
    label = f"latency p50, {counted(samples, 'sample')}"
    spread = f"{found.ratio.value:.2f} ({found.ratio.low:.2f}-{found.ratio.high:.2f})"
    before, after = (f"{m.latency.p50_ms:.3f} ms" for m in (found.against, found.model))
    return Figure(label, after, before, spread, found.ratio.value, headline=True)


def _judged_on(done: Optimization) -> str:
    held = f" held out of {done.samples}" if done.samples > done.validation.samples else ""
    return f"{counted(done.validation.samples, 'sample')}{held}"


def quality(level: LevelResult) -> Iterator[Figure]:
    """Return how close the result's outputs are to the original's."""
    scores = [s for s in (level.accuracy, level.metric) if s is not None]
    several = len(level.outputs) > 1
    first = level.score is None and level.agreement is None
    for output in level.outputs:
        name = f" of {output.name}" if several else ""
        yield Figure(f"SQNR{name}", sqnr_text(output), headline=first)
        first = False
        if output.is_empty:
            continue
        yield from _lost(output, name, level)
        yield from _agreement(output, name, level)
    yield from map(_score, scores)


def _lost(output: OutputComparison, name: str, level: LevelResult) -> Iterator[Figure]:
    """Return what an output lost in the unit that its users mean."""
    found = output.loss
    if found is not None and found.unit != LossUnit.AGREEMENT:
        of = f" of {output.name} {found.part}" if found.part else name
        most = found is level.loss and level.score is None
        label = f"{LossUnit(found.unit).noun} lost{of}"
        yield Figure(label, points_text(found.drop), headline=most)


def _agreement(output: OutputComparison, name: str, level: LevelResult) -> Iterator[Figure]:
    """Return the agreement of one output; that which agrees least is a headline."""
    found = output.agreement
    if found is not None:
        worst = found is level.agreement
        alone = output.loss is None or output.loss.unit == LossUnit.AGREEMENT
        share = found.value if worst else None
        yield Figure(f"agreement{name}", share_text(found), share=share, headline=worst and alone)


def _score(score: ScoreComparison) -> Figure:
    drop = f"-{score.drop.value:.4f}" if score.drop.value > 0 else "no drop"
    share = score.candidate if 0 <= score.candidate <= 1 else None  # else no share of anything
    before, after = f"{score.reference:.4f}", f"{score.candidate:.4f}"
    label = f"{score.name}, {score.count} labelled" if score.unlabelled else score.name
    return Figure(label, after, before, drop, share, headline=True)


def closing(done: Optimization, failures: Sequence[str] | None = None) -> Closing:
    """Return how it ended.

    Args:
        done: The record.
        failures: Why it is not a success, if that is for more than the budgets that broke.
    """
    reasons = done.broken if failures is None else tuple(failures)
    before, after = done.bytes
    smaller = f"{before / after:.1f}x smaller" if after < before else "not smaller"
    where = "made" if done.output is None else f"wrote {str(done.output)!r}"
    if done.discarded:
        where = "made and not written"
    if done.output is not None and not done.touched:
        where = f"{str(done.output)!r} is up to date"
    idle = ", ".join(r.name for r in done.idle)
    line = f"{where}: {byte_text(after)}, {smaller}"
    if done.profile is not None and done.profile.ratio is not None:
        line += f", {done.profile.ratio.value:.2f} of the time"
    if idle:
        line += f"; NOTHING CHANGED by {idle}"
    return Closing(*_end(done, failed=bool(reasons)), line, reasons)


def _end(done: Optimization, *, failed: bool) -> tuple[Tone, str]:
    """Return the end in a word or two, and how good it is."""
    asked = [r.status for r in done.pipeline.records if r.name != FIRST]
    if not done.pipeline.held or Status.ROLLED_BACK in asked:
        kept = Status.APPLIED in asked
        return (Tone.MIXED, "Refused in part") if kept else (Tone.BAD, "Refused")
    if done.validation.collapsed:
        return Tone.BAD, "Collapsed"
    if not done.held:
        return Tone.BAD, "Over budget"
    if done.idle:
        some = Status.APPLIED in asked
        tone = Tone.BAD if failed else Tone.MIXED
        return tone, "Changed in part" if some else "Nothing changed"
    if done.output is None:
        return Tone.GOOD, "Made"
    return Tone.GOOD, "Written" if done.touched else "Up to date"
