"""Looking at what layers read, one after the other, in one walk through the model."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain, takewhile
from typing import TypeVar

import numpy as np

from ocompress.analysis.linear_rows import Site
from ocompress.analysis.portions import FeedSizes, portion
from ocompress.analysis.regression import Regression, RegressionSums
from ocompress.analysis.segment_runner import Walk
from ocompress.io.dataset import Feeds
from ocompress.ir import Model, fingerprint
from ocompress.pipeline import Context

T = TypeVar("T")
_COPIES = 3
"""Sums of both parts of the samples, and room to add them up."""


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
    moments = _Moments(model, ctx)
    order = {id(n): at for at, n in enumerate(model.graph.nodes)}
    stage = f"{ctx.source}: collecting input moments"
    for _, sites in wanted:
        sites.sort(key=lambda s: order[id(s.node)])
    first = sorted(wanted, key=lambda pair: order[id(pair[1][0].node)])
    for done, (what, sites) in enumerate(first, 1):
        ctx.progress(stage, done - 1, len(wanted))
        yield what, sites, _regression(moments.of(sites, [s for _, s in first[done:]]))
    ctx.progress(stage, len(wanted), len(wanted))


class _Moments:
    """What layers read, looked at for several of them at once."""

    def __init__(self, model: Model, ctx: Context) -> None:
        self._model, self._ctx = model, ctx
        self._whose = fingerprint(model)
        self._walk: Walk | None = None
        self._sizes: FeedSizes | None = None
        self._found: dict[Hashable, tuple[np.ndarray, ...]] = {}

    def of(self, sites: list[Site], ahead: Iterable[list[Site]]) -> tuple[np.ndarray, ...]:
        """Return the sums of what some layers read; those ahead are likely to be asked for next."""
        known = self._known(sites)
        if known is None:
            self._look([sites, *self._beside(sites, ahead)])
            known = self._found[self._key(sites)]
        self._found.pop(self._key(sites), None)
        return known

    def _key(self, sites: Iterable[Site]) -> Hashable:
        return ("reads", self._ctx.seed, *(s.node.output.name for s in sites))

    def _known(self, sites: Iterable[Site]) -> tuple[np.ndarray, ...] | None:
        key = self._key(sites)
        found = self._found.get(key)
        return self._ctx.store.get(self._whose, key) if found is None else found

    def _beside(self, sites: list[Site], ahead: Iterable[list[Site]]) -> list[list[Site]]:
        """Return what fits beside some layers; those that share a weight are looked at alone."""
        single = takewhile(lambda s: len(s) == 1 and self._known(s) is None, ahead)
        every = chain([sites], single if len(sites) == 1 else ())
        return portion((own, self._bytes(own[0])) for own in every)[1:]

    def _bytes(self, site: Site) -> float:
        """Return the bytes of what a layer reads of one feed, and of the sums."""
        if self._sizes is None:
            self._sizes = FeedSizes(self._model, self._ctx.data)
        sums = _COPIES * 8 * site.groups * site.inputs * site.inputs
        return sums + self._sizes.of(site.layer.data)

    def _look(self, together: Sequence[list[Site]]) -> None:
        """Walk as far as the last of some layers, and add up what all of them read."""
        if self._walk is None:
            self._walk = Walk(self._model, self._ctx.data)
        walk = self._walk
        samples = -(-self._ctx.data.samples // max(1, walk.feeds))
        every = [RegressionSums(samples) for _ in together]
        read = [sites[0].layer.data for sites in together]
        for at, seen in enumerate(walk.show(together[-1][0].node, read)):
            for sums, sites in zip(every, together, strict=True):
                self._take(sums, sites, 0, seen, at)
        for sums, sites in zip(every, together, strict=True):
            for own in range(1, len(sites)):
                for at, seen in enumerate(walk.peek([sites[own].layer.data])):
                    self._take(sums, sites, own, seen, at)
            self._keep(sites, sums)

    def _take(
        self, sums: RegressionSums, sites: list[Site], own: int, seen: Feeds, at: int
    ) -> None:
        """Add up what a layer reads of feed number `at`."""
        assert self._walk is not None
        site = sites[own]
        data = seen[site.layer.data.name]
        wanted = site.least_rows / (len(sites) * max(1, self._walk.feeds))
        rng = np.random.default_rng([self._ctx.seed, at])
        rows = site.rows(data, site.places(data, wanted, rng))
        sums.update(rows, np.zeros((*rows.shape[:3], 0), np.float32))

    def _keep(self, sites: list[Site], sums: RegressionSums) -> None:
        whole, parts = sums.whole(), sums.parts()
        known = () if whole is None else _arrays(whole.shrunk())
        if whole is not None and parts is not None and whole.is_scarce:
            fit = replace(parts[0], shares=whole.shares).shrunk()
            known += _arrays(fit) + _arrays(parts[1])
        self._found[self._key(sites)] = known
        self._ctx.store.put(self._whose, self._key(sites), known)


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
