"""How far a pass came towards the goals that its options set, and what kept it from them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from ocompress.analysis.work import one_sample, work_of
from ocompress.diagnostics import Severity
from ocompress.ir import Model
from ocompress.pipeline.context import Context

CODE = "goal-missed"
_NEAR = 0.02
"""Part of a goal by which it may be missed: parts of models come in whole numbers."""
_SAID = 3
"""Reasons that a sentence names, at most."""


@dataclass(frozen=True)
class Gauge:
    """What was asked for and what came of it.

    Attributes:
        goal: Name of the option.
        asked: Its value.
        reached: What that is of the result, in the same unit; None if it is not known.
        unit: What it counts, for people (`of the multiply-accumulates`).
        at_most: Whether less is as good; else more is.
    """

    goal: str
    asked: float
    reached: float | None
    unit: str
    at_most: bool = True

    @property
    def is_missed(self) -> bool:
        """Whether the result is farther from the goal than whole parts explain."""
        if self.reached is None:
            return False
        short = self.reached - self.asked if self.at_most else self.asked - self.reached
        return short > _NEAR * self.asked


def work_left(before: Model, after: Model, asked: float, ctx: Context) -> Gauge:
    """Return the gauge of `max_macs`: the share of the multiply-accumulates that is left."""
    found = [_work(model, ctx) for model in (before, after)]
    reached = found[1] / found[0] if found[0] else None
    return Gauge("max_macs", asked, reached, "of the multiply-accumulates")


def _work(model: Model, ctx: Context) -> float:
    return sum(work_of(model, one_sample(model, ctx.analyses.data)).values())


def told(gauges: Iterable[Gauge], ctx: Context) -> dict[str, Any]:
    """Warn of goals that were missed, and return what the report holds of all.

    Args:
        gauges: The goals.
        ctx: Knows what the pass left alone; is told.
    """
    rows = []
    for gauge in gauges:
        rows.append(asdict(gauge) | {"missed": gauge.is_missed})
        if gauge.is_missed:
            ctx.remark(Severity.WARNING, CODE, "; ".join(_sentence(gauge, ctx)))
    return {"goals": rows} if rows else {}


def _sentence(gauge: Gauge, ctx: Context) -> Iterator[str]:
    yield f"{gauge.goal}={gauge.asked:g} was not reached: {gauge.reached:.3g} {gauge.unit}"
    remarks = [r for r in ctx.left_alone if r.source == ctx.source]
    counts = Counter(r.code for r in remarks)
    first = {r.code: r.message for r in reversed(remarks)}
    for code, count in counts.most_common(_SAID):
        yield f"{code} {count} ({first[code]})" if len(counts) == 1 else f"{code} {count}"
