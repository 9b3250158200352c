"""What plans gain and what they take, before they are carried out."""

from __future__ import annotations

import math

from ocompress.auto import PlanTrial
from ocompress.front.prospects import FIRM

CLOSING_SECONDS = 2.0
"""Time that judging and writing take about, at the least."""
GAIN = 0.15
"""How fast what a goal makes small falls as more is lost, both in logarithms, about."""
_RESERVE = 1.5
"""The result takes its trial's time again, times this, as it is fitted to more samples."""
_FULL = 0.85
"""What passes lose that go by limits themselves, over what is allowed, about."""


def reserve(trial: PlanTrial) -> float:
    """Return the seconds that carrying out a trial takes about."""
    return max(CLOSING_SECONDS, _RESERVE * trial.seconds)


def gain(value: float, reference: float) -> float:
    """Return what is gained over a reference, in logarithms; 0 where nothing was measured."""
    measured = 0 < value < math.inf and 0 < reference < math.inf
    return math.log(reference / value) if measured else 0.0


def left_to_gain(excess: float) -> float:
    """Return what limits promise that say how far passes go, beyond a plan that holds.

    Args:
        excess: What the plan lost, over what is allowed.

    Returns:
        What is gained, in logarithms.
    """
    return GAIN * max(math.log(_FULL / max(excess, FIRM)), 0.0)
