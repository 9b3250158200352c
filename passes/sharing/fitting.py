"""Fitting a layer to what it now reads, and giving its weight the form that costs least."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np

from ocompress.analysis.linear_rows import Site, bias_place
from ocompress.analysis.regression import RegressionSums
from ocompress.ir import Node
from ocompress.lossy.least_squares import Fit
from ocompress.lossy.refit import Job, stored
from passes.sharing.layer_problem import LayerProblem, layer_problem, relative_error
from passes.sharing.walking import Rewrite

R = TypeVar("R")
Solve = Callable[[LayerProblem, Site], tuple[np.ndarray, R]]
"""Given what errors cost and how the layer reads its weight, returns the weight, (groups, inputs,
outputs), as numbers of its type, and what became of it."""
Write = Callable[[Sequence[Site], Fit, R], R | None]
"""Puts a weight and biases in their place, and returns what became of them; None if they do not
fit there."""


def _plainly(sites: Sequence[Site], fitted: Fit, row: R) -> R | None:
    return None if stored(sites, fitted) is None else row


def fitting(
    part: str,
    edit: Rewrite,
    nodes: Sequence[Node],
    made: dict[str, R],
    curvature: np.ndarray,
    solve: Solve[R],
    write: Write[R] = _plainly,
    ridge: float | None = None,
) -> Job:
    """Return the job that fits a layer and gives its weight another form.

    Args:
        part: The part of the model.
        edit: Says which weight.
        nodes: The nodes that read it.
        made: Is told what became of it.
        curvature: What errors of the layer's outputs cost.
        solve: Finds the weight.
        write: Writes it.
        ridge: Of what errors cost, see `layer_problem`.
    """
    value = nodes[0].inputs[edit.index]
    assert value is not None
    assert value.data is not None
    original = value.data

    def store(sites: Sequence[Site], fit: Fit, sums: RegressionSums | None) -> Fit | None:
        whole = sums.whole() if sums is not None else None
        if whole is None:
            return None
        if bias_place(sites[0]) is None:
            whole = whole.about_zero()
        layer = layer_problem(sites[0], original, fit, whole, curvature, ridge)
        matrix, row = solve(layer, sites[0])
        if not np.isfinite(matrix).all():
            return None
        bias = whole.bias(matrix)
        after = relative_error(whole, matrix, bias, curvature)
        fitted = replace(fit, matrix=matrix, bias=bias, after=after)
        written = write(sites, fitted, row)
        if written is None:
            return None
        made[part] = written
        return fitted

    return Job(nodes, masked=False, store=store)
