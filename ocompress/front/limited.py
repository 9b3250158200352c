"""How far passes go of themselves under the limits of a budget, as a plan says it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from ocompress.auto import Chain, Step
from ocompress.errors import OcompressError
from ocompress.front.bench import Bench
from ocompress.front.budget import Budget
from ocompress.front.job import run_limited
from ocompress.front.running import Ending, at
from ocompress.pipeline import PassRecord, Pipeline, Status

Found: TypeAlias = list[tuple[str, float | None, Mapping[str, Any] | None]]
"""By name of a pass, its level, or options that say how far it went; neither if it has none."""


@dataclass(frozen=True)
class Limited:
    """Runs passes as people do that name no levels: each goes as far as its share lets it.

    All samples are used, and it is judged on those that judge the result, so what is found tends to
    hold. The models themselves are not kept: a plan has to make them again.

    Attributes:
        bench: The original and what judges look at.
        budget: Limits on the result.
        until: When to be done, in seconds of `time.monotonic`.
    """

    bench: Bench
    budget: Budget
    until: float

    def find(self, chain: Chain) -> Found | None:
        """Return how far each pass of a chain goes; None if the time is over before, or it fails.

        Args:
            chain: Its levels do not matter but for how numbers are held.
        """
        passes = [s.family.make(None if s.family.opens else s.level) for s in chain.steps]
        request = replace(self.bench.request, passes=Pipeline.of(passes), budget=self.budget)
        try:
            after = run_limited(self.bench, request, Ending(at(self.until)))
        except OcompressError:  # there is a plan without it
            return None
        found: Found = []
        for record, _ in after:
            step = next((s for s in chain.steps if s.family.item == record.name), None)
            if step is not None and record.status is Status.APPLIED:
                found.append((record.name, *_reached(step, record)))
        return found


def _reached(step: Step, record: PassRecord) -> tuple[float | None, Mapping[str, Any] | None]:
    """Return how far a pass went, as far as it says so itself."""
    settled, lever = record.details.get("settled"), step.family.lever
    if settled and lever is not None and settled.keys() == {lever.option}:
        return settled[lever.option], None
    return step.level, settled or None


def chain_of(found: Found, asked: Chain) -> Chain:
    """Return what was found as a chain.

    Args:
        found: What `Limited.find` returned.
        asked: The chain that it was given.
    """
    steps: Sequence[Step] = asked.steps
    families = {s.family.item: s.family for s in steps}
    return Chain.of(
        Step(families[name], level)
        if options is None
        else Step(families[name].having({**families[name].options, **options}))
        for name, level, options in found
    )
