"""Looking at what layers read, one after the other, in one walk through the model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np

from ocompress.analysis.linear_rows import Site
from ocompress.analysis.regression import Regression, RegressionSums
from ocompress.analysis.segment_runner import Walk
from ocompress.ir import Model, fingerprint
from ocompress.pipeline import Context

T = TypeVar("T")


def look(
    model: Model, wanted: Sequence[tuple[T, list[Site]]], ctx: Context
) -> Iterator[tuple[T, list[Site], Regression | None]]:
    """Walk through the model and yield what layers read, in order of execution.

    What is known of the very same model is not looked at again.

    Args:
        model: Not changed, and not to be changed before the last was yielded.
        wanted: Anything, with layers whose rows are added up.
        ctx: Has the data.

    Yields:
        What was given, its layers in order, and the sums of their rows (with no targets), which
        are not to be changed; None if nothing finite was read. Where rows are scarce, the sums
        have parts.
    """
    store, whose = ctx.store, fingerprint(model)
    walk: Walk | None = None
    order = {id(n): at for at, n in enumerate(model.graph.nodes)}
    stage = f"{ctx.source}: collecting input moments"
    first = sorted(wanted, key=lambda pair: min(order[id(s.node)] for s in pair[1]))
    for done, (what, sites) in enumerate(first, 1):
        ctx.progress(stage, done - 1, len(wanted))
        sites.sort(key=lambda s: order[id(s.node)])
        key = ("reads", ctx.seed, *(s.node.output.name for s in sites))
        known = store.get(whose, key)
        if known is None:
            walk = Walk(model, ctx.data) if walk is None else walk
            walk.before(sites[0].node)
            sums = RegressionSums(-(-ctx.data.samples // max(1, walk.feeds)))
            for site in sites:
                _take(sums, site, walk, len(sites), ctx.seed)
            whole = sums.whole()
            known = () if whole is None else _arrays(whole.shrunk())
            parts = sums.parts()
            if whole is not None and parts is not None and whole.is_scarce:
                fit = replace(parts[0], shares=whole.shares).shrunk()
                known += _arrays(fit) + _arrays(parts[1])
            store.put(whose, key, known)
        yield what, sites, _regression(known)
    ctx.progress(stage, len(wanted), len(wanted))


def _arrays(sums: Regression) -> tuple[np.ndarray, ...]:
    return np.array(sums.count), sums.x, sums.xx


def _regression(known: tuple[np.ndarray, ...]) -> Regression | None:
    if not known:
        return None
    whole, *parts = (_untargeted(*known[at : at + 3]) for at in range(0, len(known), 3))
    return replace(whole, parts=(parts[0], parts[1])) if parts else whole


def _untargeted(count: np.ndarray, x: np.ndarray, xx: np.ndarray) -> Regression:
    groups, inputs = x.shape
    nothing = np.zeros((groups, 0))
    targets = np.zeros((groups, inputs, 0))
    return Regression(int(count), x, nothing, xx, targets, nothing, np.zeros(groups))


def _take(sums: RegressionSums, site: Site, walk: Walk, twins: int, seed: int) -> None:
    data = site.layer.data
    share = 1 / (twins * max(1, walk.feeds))
    for at, made in enumerate(walk.peek([data])):
        seen = made[data.name]
        rows = site.rows(seen, site.places(seen, share, np.random.default_rng([seed, at])))
        sums.update(rows, np.zeros((*rows.shape[:3], 0), np.float32))
