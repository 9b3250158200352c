"""What a chain loses on samples that it was not fitted to, where there are few."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from passes.factorization.alternate import Effort
from passes.factorization.forms import ChainForm, Ranks
from passes.factorization.layers import LayerGroup
from passes.factorization.problem import Problem
from passes.factorization.rewriting import factored


def fitted_to(
    form: ChainForm, ranks: Ranks, problems: Sequence[Problem], effort: Effort
) -> list[list[np.ndarray]]:
    """Return the factors of a form for each group, fitted from their start."""
    found = []
    for problem in problems:
        seen = form.sees(problem)
        factors = form.start(seen)(ranks)
        found.append(form.fitted(seen, factors, effort) if effort.rounds else factors)
    return found


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
    tensors = factored(form, problems, factors).tensors
    pairs = zip(judges, tensors, strict=True)
    return sum(judge.error(judge.scaled(t.reshape(judge.tensor.shape))) for judge, t in pairs)


def error_left_out(
    form: ChainForm, ranks: Ranks, layer: LayerGroup, effort: Effort, error: float
) -> float:
    """Return what a form costs on samples to come, going by those of the layer's parts.

    Few samples span few directions, and a chain of as many ranks keeps them all: it seems to cost
    nothing. What it costs on samples left out tells, relative to all that the layer does there.

    Args:
        form: The form.
        ranks: Its ranks.
        layer: The layer.
        effort: How long factors are fitted.
        error: What it costs on the samples it is fitted to, which is the least that is returned.
    """
    if not layer.parts:
        return error
    judge = [problem for _, problem in layer.parts]
    fit, factors = fitted_apart(form, ranks, layer, effort)
    lost = error_of(form, fit, factors, judge) / max(sum(p.power() for p in judge), 1e-300)
    return max(error, lost * sum(p.power() for p in layer.problems))


def fitted_apart(
    form: ChainForm, ranks: Ranks, layer: LayerGroup, effort: Effort
) -> tuple[list[Problem], list[list[np.ndarray]]]:
    """Return what the part of the samples poses that is fitted to, and the factors, by group."""
    fit = [problem for problem, _ in layer.parts]
    return fit, fitted_to(form, ranks, fit, effort)
