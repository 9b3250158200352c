"""What it costs to make a weight of words, tried without the layers around it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from ocompress.analysis.linear_rows import Site
from ocompress.lossy.ablation import Change, Trial
from ocompress.lossy.layer_weights import LayerWeight
from passes.pruning.costs import View
from passes.sharing.layer_problem import cost_of
from passes.sharing.pricing import place
from passes.sharing.word_settings import Asked, Settings
from passes.sharing.word_starts import BlockMetric
from passes.sharing.words import Encode, nearest

_BLOCKS, _BLOCKS_A_WORD = 1 << 14, 32
"""Blocks to which words are fitted whose cost is asked for, at least."""


@dataclass(frozen=True)
class WordCosts:
    """What each setting of a weight costs, and one that is tried.

    Attributes:
        errors: By length and number of words.
        curvature: What errors of outputs cost; None if data do not tell.
        tried: One setting.
        metrics: What errors of blocks cost, by length, as far as that is known.
    """

    errors: Mapping[tuple[int, int], float]
    curvature: np.ndarray | None
    tried: Trial
    metrics: Mapping[int, BlockMetric]


def word_costs(
    weight: LayerWeight,
    site: Site,
    view: View | None,
    settings: Settings,
    asked: Asked,
    tick: Callable[[], None],
) -> WordCosts:
    """Look at a weight: by what its layer reads and is read for, or by itself.

    `tick` is called after each setting.
    """
    matrix = site.matrix(weight.array.astype(np.float64))
    errors: dict[tuple[int, int], float] = {}
    metrics: dict[int, BlockMetric] = {}
    first: Trial | None = None
    for block, count in settings:
        metric = None
        if view is not None:
            if block not in metrics:
                metrics[block] = BlockMetric.of(view.hessian, view.curvature, block)
            metric = metrics[block]
        move = Encode((), 0, block, count, None, asked.seed)
        some = slice(None) if first is None else _enough(matrix.shape, block, count)
        off = nearest(matrix, weight.array.dtype, move, metric, some)[0] - matrix
        if view is None:
            error = float(np.square(off).sum() / max(float(np.square(matrix).sum()), 1e-300))
        else:
            error = cost_of(view.hessian, view.curvature, off)
        errors[block, count] = error
        if first is None:
            array = site.weight(off)
            made = (weight.array + array).astype(weight.array.dtype)
            shift = view.shift(array) if view is not None else None
            change = Change(weight.nodes[0].label, place(weight), made, shift)
            first = Trial([change], error)
        tick()
    assert first is not None
    return WordCosts(errors, view.curvature if view is not None else None, first, metrics)


def _enough(shape: tuple[int, ...], block: int, words: int) -> slice:
    """Return which outputs of a weight, (groups, inputs, outputs), words are fitted to.

    What errors cost is asked of all outputs, as they may add up from output to output.
    """
    groups, inputs, outputs = shape
    wanted = max(_BLOCKS, _BLOCKS_A_WORD * words) / (groups * inputs / block)
    return slice(None, None, max(1, int(outputs / wanted)))
