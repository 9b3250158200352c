"""What a chain loses on samples that it was not fitted to, where there are few."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from passes.factorization.alternate import Effort
from passes.factorization.forms import ChainForm, Ranks, Starts
from passes.factorization.layers import LayerGroup
from passes.factorization.problem import Problem


def error_of(
    form: ChainForm,
    problems: Sequence[Problem],
    factors: Sequence[Sequence[np.ndarray]],
    judges: Sequence[Problem],
) -> float:
    """Return what a chain costs where others judge.

    Args:
        form: How the layer is written.
        problems: What the factors were fitted to, by group.
        factors: The factors.
        judges: The problems of the same weight that other samples pose.
    """
    each = zip(problems, factors, judges, strict=True)
    return sum(form.plain_error(j, form.plain(form.sees(p), f)) for p, f, j in each)


class LeftOut:
    """What chains cost a layer on samples to come, going by those of its parts.

    Few samples span few directions, and a chain of as many ranks keeps them all: it seems to cost
    nothing. What it costs on samples left out tells, relative to all that the layer does there.
    """

    def __init__(self, layer: LayerGroup, effort: Effort) -> None:
        """Start with nothing known.

        Args:
            layer: The layer.
            effort: How long factors are fitted.
        """
        self._layer, self._effort = layer, effort
        self._fit = [problem for problem, _ in layer.parts]
        self._judges = [problem for _, problem in layer.parts]
        self._starts: dict[str, list[Starts]] = {}

    def error(self, form: ChainForm, ranks: Ranks, error: float) -> float:
        """Return what a form costs.

        Args:
            form: The form.
            ranks: Its ranks.
            error: What it costs on the samples it is fitted to, which is the least that is
                returned, and all where the layer has no parts.
        """
        if not self._fit:
            return error
        fit, factors = self.fitted(form, ranks)
        lost = error_of(form, fit, factors, self._judges)
        lost /= max(sum(p.power() for p in self._judges), 1e-300)
        return max(error, lost * sum(p.power() for p in self._layer.problems))

    def fitted(self, form: ChainForm, ranks: Ranks) -> tuple[list[Problem], list[list[np.ndarray]]]:
        """Return what the part of the samples poses that is fitted to, and the factors, by group.

        What factors of a form start from is found once for all ranks.
        """
        seen = [form.sees(problem) for problem in self._fit]
        if form.name not in self._starts:
            self._starts[form.name] = [form.start(problem) for problem in seen]
        found = []
        for problem, start in zip(seen, self._starts[form.name], strict=True):
            factors = start(ranks)
            found.append(
                form.fitted(problem, factors, self._effort) if self._effort.rounds else factors
            )
        return self._fit, found
