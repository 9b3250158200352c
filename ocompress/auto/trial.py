"""What a chain turned out to be worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ocompress.auto.chain import Chain
from ocompress.auto.goal import PlanGoal
from ocompress.pipeline.bearing import bearing
from ocompress.pipeline.guard import Verdict

_ALIKE = 1e-9
_FIGURES = (*("lost", "latency", "size", "archive", "memory", "seconds", "idle"),)


@dataclass(frozen=True, kw_only=True)
class PlanTrial:
    """A chain that was built and measured.

    Attributes:
        chain: What it was.
        held: Whether it keeps all limits.
        drop: What it lost, in units of the metric; None if it could not be measured.
        strain: What it lost, or the upper end of that, over what is allowed: the larger of both.
        latency: Its time over the original's, None if it was not measured.
        size: Bytes of its file.
        archive: Bytes of its archive, None if that was not made.
        memory: Bytes of memory that a run takes, None if that was not measured.
        seconds: How long its passes took, those that earlier trials ran included.
        idle: Names of passes that changed nothing.
        over: Which limit beside that on the drop it breaks, one sentence; empty if none.
        why: Why it does not hold, one sentence; empty if it does.
        lost: What the judge of the drop found, by which it can judge again.
    """

    chain: Chain
    held: bool
    drop: float | None = None
    strain: float = float("inf")
    latency: float | None = None
    size: int = 0
    archive: int | None = None
    memory: int | None = None
    seconds: float = 0.0
    idle: tuple[str, ...] = ()
    over: str = ""
    why: str = ""
    lost: Mapping[str, float] = field(default_factory=dict)

    def judged(self, verdict: Verdict) -> PlanTrial:
        """Return the trial as the judge of the drop sees it."""
        return replace(
            self,
            held=verdict.held,
            drop=verdict.figures["drop"],
            strain=strain(verdict),
            why="" if verdict.held else verdict.message,
            lost=verdict.figures,
        )

    @property
    def excess(self) -> float:
        """What it lost over what is allowed, counted from what no loss at all would look like."""
        return excess(self.lost) if self.lost else self.strain

    @property
    def shorter(self) -> Chain:
        """The chain without the passes that changed nothing."""
        return self.chain.without_items(self.idle)

    @property
    def plain(self) -> PlanTrial | None:
        """The trial of `shorter`, as far as it follows from this one; else None.

        It is of the same model, unless a pass that is missing decided how the first pass begins,
        or what others were fitted to.
        """
        both = [chain.pipeline().passes for chain in (self.chain, self.shorter)]
        begins, needs = {str(passes[0]) for passes in both}, {*map(bearing, both)}
        if not self.idle or len(begins) > 1 or len(needs) > 1:
            return None
        return replace(self, chain=self.shorter, idle=())

    def value(self, goal: PlanGoal) -> float:
        """Return what the goal makes small; infinite where it is not known."""
        found = {
            PlanGoal.LATENCY: self.latency,
            PlanGoal.SIZE: self.size or None,
            PlanGoal.ARCHIVE: self.archive,
            PlanGoal.MEMORY: self.memory,
        }[goal]
        return float("inf") if found is None else float(found)

    def other_value(self, goal: PlanGoal) -> float:
        """Return what counts among trials that are equal by the goal: bytes, or else the time."""
        if goal is PlanGoal.LATENCY:
            return float(self.size)
        return float("inf") if self.latency is None else self.latency

    def figures(self) -> dict[str, Any]:
        """Return what of it does not depend on limits, JSON-able."""
        return {name: getattr(self, name) for name in _FIGURES}

    @staticmethod
    def of_figures(chain: Chain, figures: Mapping[str, Any]) -> PlanTrial:
        """Return the trial that `figures` told of, before anybody judges it."""
        known: dict[str, Any] = {name: figures.get(name) for name in _FIGURES}
        known |= {"idle": tuple(known["idle"] or ()), "lost": known["lost"] or {}}
        return PlanTrial(chain=chain, held=False, **known)

    def to_json(self) -> dict[str, Any]:
        """Return what reports hold of it."""
        return {
            "passes": str(self.chain),
            "held": self.held,
            "drop": self.drop,
            "latency_ratio": self.latency,
            "bytes": self.size,
            "archive_bytes": self.archive,
            "memory_bytes": self.memory,
            "seconds": round(self.seconds, 3),
            "why": self.why,
        }


def front(trials: Sequence[PlanTrial], goal: PlanGoal) -> list[PlanTrial]:
    """Return the trials that no other one beats in both drop and goal, the least drop first."""
    known = [t for t in trials if t.drop is not None and t.value(goal) < float("inf")]
    found: list[PlanTrial] = []
    order = sorted(known, key=lambda t: (max(t.drop or 0.0, 0.0), t.value(goal), len(t.idle)))
    for trial in order:
        if not found or trial.value(goal) < found[-1].value(goal) * (1 - _ALIKE):
            found.append(trial)
    return found


def strain(verdict: Verdict) -> float:
    """Return what was lost over what is allowed; the upper end over its own limit if that is more.

    Where nothing may be lost, it is 0 or infinite.
    """
    figures, found = verdict.figures, 0.0
    for value, limit in (("drop", "limit"), ("high", "bound")):
        lost, allowed = figures[value], figures[limit]
        if lost > 0:
            found = max(found, lost / allowed if allowed > 0 else float("inf"))
    return found


def excess(figures: Mapping[str, float]) -> float:
    """Return what was lost over what is allowed, counted from what no loss at all would look like.

    On few samples the upper end is far from 0 even then.

    Args:
        figures: What the judge of the drop found.
    """
    limit, bound = figures.get("limit", 0.0), figures.get("bound", 0.0)
    least = min(figures.get("least", 0.0), bound)
    found = max(figures.get("drop", 0.0), 0.0) / limit if limit > 0 else 0.0
    above = figures.get("high", 0.0) - least
    return max(found, above / (bound - least)) if bound > least else found
