"""Chains near to a good one, and what a search would ask for of them."""

from __future__ import annotations

from ocompress.auto.chain import Chain, Step
from ocompress.auto.foresight import Walk

_STEPS = (0.94, 1.06)
"""Factors on levels in small steps around the best chain."""


def around(chain: Chain) -> list[Chain]:
    """Return the chains near to one: one level lower, or one lower and another one higher."""
    down, up = _STEPS
    levers = [s for s in chain.levers if s.family.lever is not None and not s.family.lever.whole]
    found = []
    for step in levers:
        lower = _moved(chain, step, down)
        found.append(lower)
        found += [_moved(lower, other, up) for other in levers if other is not step]
    return found


def _moved(chain: Chain, step: Step, factor: float) -> Chain:
    lever = step.family.lever
    assert lever is not None
    assert step.level is not None
    return chain.at(step.family, lever.near(step.level * factor))


def alone(chain: Chain) -> Walk:
    """Yield a chain, whatever becomes of it."""
    yield chain
