"""Which ranks of a form are tried."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from passes.factorization.evbmf import evbmf_rank
from passes.factorization.forms import ChainForm, Ranks
from passes.factorization.problem import Problem

RanksOf = Callable[[ChainForm, Problem], list[Ranks]]
"""Gives the ranks that are tried of a form."""

_RUNGS, _INNER_RUNGS, _HEADS = 12, 4, 5


def ladder(multiple: int, form: ChainForm, problem: Problem) -> list[Ranks]:
    """Return ranks from few to as many as there are fewer weights with than the layer has.

    Args:
        multiple: What the ranks should be a multiple of.
        form: The form.
        problem: What it is fitted to.
    """
    every = form.every(problem)
    if every is not None:
        return every
    found = set()
    most = form.most(problem)[-1]
    for head in _heads(multiple, form, problem):
        last = _largest(form, problem, head, problem.tensor.size - 1)
        rungs = _INNER_RUNGS if head else _RUNGS
        for wanted in np.geomspace(max(1, last / (4 if head else 16)), max(1, last), rungs):
            found.add((*head, min(snapped(wanted, most, multiple), max(last, 1))))
    return sorted(found)


def within(share: float, multiple: int, form: ChainForm, problem: Problem) -> list[Ranks]:
    """Return the largest ranks with no more than a share of the layer's weights.

    Args:
        share: The share.
        multiple: What the ranks should be a multiple of, for convolutions.
        form: The form.
        problem: What it is fitted to.
    """
    most = int(problem.tensor.size * share)
    every = form.every(problem)
    if every is not None:
        return [ranks for ranks in every if form.size(problem, ranks) <= most][:1]
    found = []
    for head in _heads(multiple, form, problem):
        last = _largest(form, problem, head, most)
        if last and not form.flat:
            last = max(1, last // multiple * multiple)
        if last:
            found.append((*head, last))
    return found


def given(rank: int, form: ChainForm, problem: Problem) -> list[Ranks]:
    """Return one rank for every axis, as far as there are so many."""
    return form.of_rank(problem, rank)


def variational(form: ChainForm, problem: Problem) -> list[Ranks]:
    """Return the ranks of what is no noise; none for forms that are no cut of a matrix."""
    if form.spectra is None:
        return []
    return [tuple(evbmf_rank(spectrum) for spectrum in form.spectra(problem))]


def snapped(wanted: float, most: int, multiple: int) -> int:
    """Return about a rank that kernels like: a multiple, or where there are few, of less."""
    step = multiple if most >= 4 * multiple else 4 if most >= 16 else 1
    return min(most, max(step, int(wanted / step + 0.5) * step))


def _heads(multiple: int, form: ChainForm, problem: Problem) -> list[Ranks]:
    """Return what all ranks but the last are tried at."""
    most = form.most(problem)[:-1]
    if not most:
        return [()]
    shares = np.linspace(0, 1, _HEADS + 1)[1:]
    step = 1 if form.grid else multiple
    return sorted({tuple(snapped(m * s, m, step) for m in most) for s in shares})


def _largest(form: ChainForm, problem: Problem, head: Ranks, size: int) -> int:
    """Return the largest last rank with which a form has no more weights; 0 if there is none."""
    low, high = 0, form.most(problem)[-1]
    while low < high:
        middle = (low + high + 1) // 2
        if form.size(problem, (*head, middle)) <= size:
            low = middle
        else:
            high = middle - 1
    return low
