"""What data tell of weights whose channels were put in another order, without measuring again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

import numpy as np

from ocompress.analysis.linear_rows import Site
from ocompress.lossy.layer_weights import LayerWeight
from passes.pruning.costs import View
from passes.pruning.reordering import Moved
from passes.sharing.pricing import place


def moved_views(
    views: Iterable[View],
    weights: Mapping[str, LayerWeight],
    sites: Mapping[str, Site],
    moved: Moved,
) -> Iterator[View]:
    """Yield what data would tell of the weights of a model whose channels are in order.

    Samples to fit to and to judge by are no longer told apart.

    Args:
        views: What they tell of the model as it was.
        weights: Weights of the other one, by name.
        sites: Their layers, by name.
        moved: Where elements of its constants come from.
    """
    for view in views:
        weight = weights[view.candidate.name]
        numbers = moved.source(weight.nodes[0], place(weight), weight.array.shape)
        yield _moved(replace(view, parts=()), weight, sites[weight.name], numbers)


def _moved(view: View, weight: LayerWeight, site: Site, numbers: np.ndarray) -> View:
    """Return a view of a weight whose elements come from elsewhere.

    Args:
        view: What was seen before.
        weight: The weight as it is.
        site: Its layer.
        numbers: Number of each element among those of the weight before, of the weight's shape.
    """
    before = view.site.matrix(np.arange(numbers.size).reshape(numbers.shape))
    where = np.empty(numbers.size, np.int64)
    where[before.reshape(-1)] = np.arange(numbers.size)
    group, input_, output = np.unravel_index(where[site.matrix(numbers)], before.shape)
    groups, inputs, outputs = group[:, :1, 0], input_[:, :, 0], output[:, 0, :]
    sums = replace(
        view.sums,
        x=view.sums.x[groups, inputs],
        xx=view.sums.xx[groups[:, :, None], inputs[:, :, None], inputs[:, None, :]],
        shares=view.sums.shares[groups[:, 0]],
    )
    curvature = view.curvature
    if curvature.ndim == 3:
        curvature = curvature[groups[:, :, None], outputs[:, :, None], outputs[:, None, :]]
    else:
        curvature = curvature[groups, outputs]
    return View(weight, site, sums, curvature, view.parts)
