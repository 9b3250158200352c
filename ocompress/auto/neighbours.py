"""Chains near to a good one, and what a search would ask for of them."""

from __future__ import annotations

from ocompress.auto.chain import Chain
from ocompress.auto.foresight import Walk

_STEPS = (0.94, 1.06)
"""Factors on levels in small steps around the best chain."""


def around(chain: Chain) -> list[Chain]:
    """Return the chains near to one: one level lower, or one lower and another one higher."""
    down, up = _STEPS
    levers = [s for s in chain.levers if s.family.lever is not None and not s.family.lever.whole]
    found = []
    for step in levers:
        assert step.level is not None
        lower = chain.at(step.family, step.level * down)
        found.append(lower)
        found += [
            lower.at(other.family, other.level * up)
            for other in levers
            if other is not step and other.level is not None
        ]
    return found


def alone(chain: Chain) -> Walk:
    """Yield a chain, whatever becomes of it."""
    yield chain
