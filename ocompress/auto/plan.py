"""A finished plan: what was chosen, what else was tried, and what was predicted of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ocompress.auto.goal import PlanGoal
from ocompress.auto.peer import PlanPeer
from ocompress.auto.trial import PlanTrial, front
from ocompress.pipeline import LayerChoice, Pipeline
from ocompress.wording import counted


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a search found.

    Attributes:
        goal: What was made small.
        chosen: The trial that the plan follows.
        trials: All that were made, in order.
        noun: What drops are measured in, for people.
        seconds: How long the search took.
        ended: Why it ended before it was through; empty if it was not.
        measured: What carrying it out gave, by the names that trials have: drop, latency ratio,
            bytes, archive bytes.
        passed_over: Better trials whose pipeline did not hold once carried out, and why.
        original_bytes: Bytes of the original.
        original_ms: Median latency of the original, milliseconds; None if it was not timed.
        limit: What the plan may lose, in units of the metric; None for anything.
        steps: The trials of the chosen chain's first passes: none, the first, the first two and so
            on up to all of them, as far as they were measured.
        peers: Models to compare with.
        choices: What carrying it out decided about every layer.
    """

    goal: PlanGoal
    chosen: PlanTrial
    trials: tuple[PlanTrial, ...]
    noun: str
    seconds: float
    original_bytes: int
    ended: str = ""
    measured: Mapping[str, float | None] = field(default_factory=dict)
    passed_over: tuple[PlanTrial, ...] = ()
    original_ms: float | None = None
    limit: float | None = None
    steps: tuple[PlanTrial, ...] = ()
    peers: tuple[PlanPeer, ...] = ()
    choices: tuple[LayerChoice, ...] = ()

    @property
    def pipeline(self) -> Pipeline:
        """The passes of the plan."""
        return self.chosen.chain.pipeline()

    @property
    def remarks(self) -> tuple[str, ...]:
        """What a reader of the result must know, one sentence each."""
        said = []
        does, others = bool(self.chosen.chain.steps), len(self.trials) - 1
        what = f"none that keeps to the limits is better for {self.goal}"
        if self.ended and does:
            said.append(f"the search ended early: {self.ended}; the best plan so far was taken")
        elif self.ended:
            tried = f"of {counted(others, 'plan')} that were tried {what}"
            so_far = tried if others > 0 else "no plan was tried to its end"
            said.append(
                f"the search ended early: {self.ended}; {so_far}, so the model is only put in "
                "order; more --time may find better ones"
            )
        elif not does and self.passed_over:
            said.append(
                f"none of the {counted(len(self.passed_over), 'plan')} that were carried out did "
                "what was asked, so the model is only put in order; with more samples to choose "
                "on, more plans that hold are found"
            )
        elif not does:
            said.append(
                f"nothing pays: of {counted(max(others, 0), 'plan')} {what}, so the model is only "
                "put in order"
            )
        said += [
            f"{trial.chain} did not hold once carried out ({trial.why}); one that loses "
            "less was taken"
            for trial in self.passed_over
        ]
        return tuple(said)

    def why_passed_over(self, trial: PlanTrial) -> str:
        """Return why a trial did not hold once carried out; empty if it did or was not."""
        return next((t.why for t in self.passed_over if t.chain == trial.chain), "")

    @property
    def front(self) -> Sequence[PlanTrial]:
        """The trials that no other beats in both drop and goal."""
        return front(self.trials, self.goal)

    def recipe(self) -> str:
        """Return the plan as a recipe."""
        lost = "" if self.chosen.drop is None else f", {100 * self.chosen.drop:.2f} points of "
        lost += self.noun if lost else ""
        said = f"Planned for {self.goal}{lost} predicted; `fixed` keeps clocks out of it."
        return self.pipeline.to_recipe(said)

    def to_json(self) -> dict[str, Any]:
        """Return what reports hold of it."""
        return {
            "goal": self.goal.value,
            "passes": str(self.pipeline),
            "predicted": self.chosen.to_json(),
            "measured": dict(self.measured),
            "metric": self.noun,
            "seconds": round(self.seconds, 3),
            "ended": self.ended,
            "passed_over": [t.to_json() for t in self.passed_over],
            "trials": [t.to_json() for t in self.trials],
            "front": [str(t.chain) for t in self.front],
            "limit": self.limit,
            "original": {"bytes": self.original_bytes, "ms": self.original_ms},
            "steps": [t.to_json() for t in self.steps],
            "peers": [p.to_json() for p in self.peers],
            "choices": [c.to_json() for c in self.choices],
        }
