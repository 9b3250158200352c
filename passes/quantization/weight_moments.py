"""Second moments of the inputs of weights, gathered in loads that fit into memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from ocompress.analysis.second_moments import SecondMoments
from ocompress.ir import Model
from ocompress.pipeline import Context
from passes.quantization.weight_forms import Role
from passes.quantization.weight_site import WeightSite

_MOST_BYTES = 1 << 30


def loads(sites: Sequence[WeightSite], most_bytes: int = _MOST_BYTES) -> Iterator[list[WeightSite]]:
    """Cut the weights into runs whose second moments fit into memory together.

    Args:
        sites: All weights.
        most_bytes: Bytes that the moments of a run may take; a single weight may exceed it.
    """
    load: list[WeightSite] = []
    held: dict[str, int] = {}
    for site in sites:
        more = dict.fromkeys(_inputs(site), 8 * site.rows.shape[1] ** 2)
        if load and sum((held | more).values()) > most_bytes:
            yield load
            load, held = [], {}
        load.append(site)
        held |= more
    yield load


def gather(sites: Sequence[WeightSite], model: Model, ctx: Context) -> dict[int, np.ndarray]:
    """Sweep the data once for the second moments of all inputs.

    Args:
        sites: Weights of `model`.
        model: Not changed.
        ctx: Has the data.

    Returns:
        By id of the weight, the moments, of several inputs their mean, float32 of shape
        (inputs, inputs). A weight whose inputs no finite data reached has none.

    Raises:
        DataError: If there are no data.
    """
    observer = SecondMoments()
    names = {id(s.value): _inputs(s) for s in sites}
    observers = {name: frozenset({observer}) for found in names.values() for name in found}
    statistics = ctx.statistics(model, observers)
    found: dict[int, np.ndarray] = {}
    for site in sites:
        width = site.rows.shape[1]
        parts = [statistics.get((name, observer)) for name in names[id(site.value)]]
        second = [p.whole.shrunk(p.shares)[0].astype(np.float32) for p in parts if p is not None]
        whole = [p for p in second if p.shape == (width, width)]
        if len(whole) == 1:
            found[id(site.value)] = whole[0]
        elif whole:
            found[id(site.value)] = np.mean(whole, axis=0)
    for name in observers:  # too large to be kept for the passes that follow
        ctx.analyses.statistics.pop((name, observer), None)
    return found


def _inputs(site: WeightSite) -> list[str]:
    if site.role is not Role.MATRIX:
        return []
    return [v.name for n in site.nodes if (v := n.input(0)) is not None]
