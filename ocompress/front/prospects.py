"""What carrying a plan out promises, as those before it turned out."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from ocompress.auto import Chain, PlanTrial

FIRM = 0.2
"""What was lost, over what may be, below which samples hardly tell one plan from another."""
_COMMON, _OWN, _CHANCE = 0.45, 0.35, 0.15
"""Standard deviations of the logarithm of what a plan loses once it is carried out over what it
lost where it was chosen: common to all plans of a search, common to chains that are alike, and of
each by itself."""
_ALIKE = 0.2
"""Difference of two levels, in logarithms, up to which chains turn out alike."""


@dataclass
class Prospects:
    """Expected improvement under a limit, for plans that were tried but not carried out.

    Plans are chosen on other samples than they are judged on, and carried out fitted to more. By
    how much what they lose differs is a Gaussian process over chains, in logarithms, of mean 0
    before anything is known: one plan tells of all others, and most of those like it. What a plan
    promises is what it would gain, times the probability that it holds (Gardner et al., Bayesian
    Optimization with Inequality Constraints, 2014).
    """

    _told: list[tuple[Chain, float]] = field(default_factory=list)

    def tell(self, trial: PlanTrial, lost: float) -> None:
        """Learn what became of a plan.

        Args:
            trial: The plan, as it was tried.
            lost: What it lost over what is allowed, as `PlanTrial.excess`; 0 if that is not known.
        """
        if lost > 0:
            self._told.append((trial.chain, _ratio(lost, trial.excess)))

    def chance(self, chain: Chain, excess: float) -> float:
        """Return the probability that a plan holds.

        Args:
            chain: The plan.
            excess: What it lost where it was chosen, over what is allowed.
        """
        mean, deviation = self._expected(chain)
        above = (math.log(max(excess, FIRM)) + mean) / deviation
        return 0.5 * math.erfc(above / math.sqrt(2))

    def improvement(self, chain: Chain, excess: float, gain: float) -> float:
        """Return what a plan promises.

        Args:
            chain: The plan.
            excess: What it lost where it was chosen, over what is allowed.
            gain: What is gained if it holds, in logarithms.
        """
        return self.chance(chain, excess) * max(gain, 0.0)

    def _expected(self, chain: Chain) -> tuple[float, float]:
        """Return mean and standard deviation of what carrying out makes of a loss, as `_ratio`."""
        whole = _COMMON**2 + _OWN**2 + _CHANCE**2
        if not self._told:
            return 0.0, math.sqrt(whole)
        chains = [told for told, _ in self._told]
        found = np.array([ratio for _, ratio in self._told])
        among = np.array([[_covariance(a, b) for b in chains] for a in chains])
        among += _CHANCE**2 * np.eye(len(chains))
        with_it = np.array([_covariance(chain, other) for other in chains])
        weights = np.linalg.solve(among, with_it)
        return float(weights @ found), math.sqrt(whole - float(weights @ with_it))


def _ratio(lost: float, expected: float) -> float:
    return math.log(max(lost, FIRM) / max(expected, FIRM))


def _covariance(one: Chain, other: Chain) -> float:
    return _COMMON**2 + _OWN**2 * _likeness(one, other)


def _likeness(one: Chain, other: Chain) -> float:
    """Return how alike chains are, from 0 to 1: families that both have, at levels nearby."""
    here, there = ({s.family: s.level for s in chain.steps} for chain in (one, other))
    union = here.keys() | there.keys()
    shared = [_near(here[f], there[f]) for f in here.keys() & there.keys()]
    return sum(shared) / len(union) if union else 1.0


def _near(one: float | None, other: float | None) -> float:
    if not one or not other:
        return float(one == other)
    return math.exp(-((math.log(one / other) / _ALIKE) ** 2) / 2)
