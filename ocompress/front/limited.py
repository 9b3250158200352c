"""How far passes go of themselves under the limits of a budget, as a plan says it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from ocompress.analysis.work import one_sample, work_of
from ocompress.auto import Chain, Step
from ocompress.errors import OcompressError
from ocompress.front.bench import Bench
from ocompress.front.budget import Budget
from ocompress.front.job import run_limited
from ocompress.front.running import Ending, at
from ocompress.ir import Model
from ocompress.pipeline import PassRecord, Pipeline, Status

Found: TypeAlias = list[tuple[str, float | None, Mapping[str, Any] | None]]
"""By name of a pass, its level, or options that say how far it went; neither if it has none."""
_STEP = 1e-3
"""Levels are rounded up to this: what was found has to be within them."""


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
        before: Model = self.bench.original
        found: Found = []
        for record, model in after:
            step = next((s for s in chain.steps if s.family.item == record.name), None)
            if step is not None and record.status is Status.APPLIED:
                found.append((record.name, *self._reached(step, record, before, model)))
            before = model
        return found

    def _reached(
        self, step: Step, record: PassRecord, before: Model, after: Model
    ) -> tuple[float | None, Mapping[str, Any] | None]:
        settled = dict(record.details.get("settled") or {})
        lever = step.family.lever
        if lever is None or not step.family.opens:
            return step.level, settled or None
        if lever.option not in settled:
            left = self._work(after) / max(self._work(before), 1.0)
            settled[lever.option] = min(math.ceil(left / _STEP) * _STEP, 1.0)
        level = settled[lever.option] = round(settled[lever.option], 3)
        return level, settled if len(settled) > 1 else None

    def _work(self, model: Model) -> float:
        return sum(work_of(model, one_sample(model, self.bench.samples.fit)).values())


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
