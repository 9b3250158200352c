"""Two models walked side by side: what a compressed layer reads, and what it should make.

A layer of a model that is compressed from its inputs on reads other numbers than the original's
layer did. Fitted to the original's outputs on those numbers, it makes up for what the layers
before it lost (He et al., Channel Pruning for Accelerating Very Deep Neural Networks, 2017).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ocompress.analysis.linear_rows import Site
from ocompress.analysis.reference_rows import Ask, ReferenceRows
from ocompress.analysis.regression import RegressionSums
from ocompress.analysis.segment_runner import Walk
from ocompress.analysis.store import MeasurementStore
from ocompress.io.dataset import Dataset
from ocompress.ir import Model, Node, Value, query

Lost = Mapping[str, Mapping[int, np.ndarray]]
"""Which elements of the original's values the candidate lacks, by name of the value and axis.

An axis may be the channels of one layer, and the places or the batch of another: a layer over time
behind channels, heads folded into the batch of a convolution.
"""


Shortcut = tuple[Value, Value]
"""What a layer's output is added to, in the original and in the candidate."""

Seen = tuple[np.ndarray, np.ndarray | None]
"""What the candidate's layer reads of one feed, and its end of the shortcut."""


@dataclass(frozen=True)
class Twins:
    """A layer of the original and what became of it.

    Attributes:
        reference: The original's layer.
        candidate: Its twin in the compressed model, before it is fitted.
    """

    reference: Site
    candidate: Site


class Lockstep:
    """A walk through what becomes of an original, with a look at the original's layers."""

    def __init__(
        self,
        reference: Model,
        candidate: Model,
        data: Dataset,
        *,
        lost: Lost | None = None,
        seed: int = 0,
        store: MeasurementStore | None = None,
        plan: Sequence[Sequence[Twins]] = (),
        weights: Mapping[str, np.ndarray] | None = None,
    ) -> None:
        """Stop before the first nodes.

        Args:
            reference: The original.
            candidate: The model that is changed on the way.
            data: Feeds that fit both.
            lost: What the candidate lacks; None if nothing.
            seed: Draws the places that are looked at.
            store: Keeps what the original makes, for the next candidate.
            plan: What `sums` is going to be asked for, in order.
            weights: How much places of a layer count, by name of the original's output, (items,
                places); items beyond them, and layers without, count 1 throughout.
        """
        self._reference = ReferenceRows(reference, data, seed, store)
        self._candidate = Walk(candidate, data)
        self._lost = lost or {}
        self._plan, self._weights = plan, weights or {}
        self._samples = -(-data.samples // max(1, len(data)))
        self._seed = seed

    def sums(self, twins: Sequence[Twins]) -> RegressionSums | None:
        """Walk as far as the first of some layers with one weight, and look at all of them.

        Rows are what the candidate's layers read now; targets what the original's make, and where
        the output is added to a shortcut, also what the shortcut has lost so far.

        Args:
            twins: Layers that share a weight, in order of execution; mostly one.

        Returns:
            The sums; None if rows of the one have no counterpart in the other.

        Raises:
            ValueError: If the first one was passed already or is not in the main graph.
            RuntimeFailureError: If ONNX Runtime cannot run a segment.
        """
        stop = self._stop(twins[0].candidate)
        sums = RegressionSums(self._samples)
        for number, pair in enumerate(twins):
            ask, around = self._ask(pair, twins, stop)
            ours = self._ours(pair.candidate, around, stop if number == 0 else None)
            if self._lacks_channels_only(pair, around):
                both = self._sampled(pair, around, ours, ask, self._asks(twins, number))
            else:
                both = self._whole(pair, around, ours, ask)
            for found in both:
                if found is None:
                    return None
                sums.update(*found)
        return sums

    def _ask(self, pair: Twins, twins: Sequence[Twins], stop: Node) -> tuple[Ask, Shortcut | None]:
        """Return what is wanted of the original's layer, and what is added to it."""
        around = self._shortcut(pair, stop)
        share = 1 / (len(twins) * max(1, self._candidate.feeds))
        shortcut = None if around is None else around[0]
        return Ask(pair.reference, twins[0].reference.node, shortcut, share), around

    def _asks(self, twins: Sequence[Twins], number: int) -> Iterator[Ask]:
        """Yield what will be wanted behind a pair, as long as all the original makes is not."""
        place = next((at for at, other in enumerate(self._plan) if other is twins), len(self._plan))
        rest = [(twins, twins[number + 1 :]), *((t, t) for t in self._plan[place + 1 :])]
        for whole, pairs in rest:
            stop = self._stop(whole[0].candidate)
            for pair in pairs:
                ask, around = self._ask(pair, whole, stop)
                if not self._lacks_channels_only(pair, around):
                    return
                yield ask

    def _stop(self, site: Site) -> Node:
        """Return where to wait for a layer: before a reshape that it reads.

        What takes its place may read what is reshaped.
        """
        maker = site.layer.data.producer
        reshapes = maker is not None and maker.is_op("Flatten", "Reshape")
        if maker is not None and reshapes and self._candidate.ahead(maker):
            return maker
        return site.node

    def _lacks_channels_only(self, pair: Twins, around: Shortcut | None) -> bool:
        """Whether all that is missing of the original's output are channels of the layer."""
        makes, axis = pair.reference.node.output, pair.reference.layer.out_channel
        names = [makes.name] if around is None else [makes.name, around[0].name]
        return all(set(self._lost.get(name, {})) <= {axis} for name in names)

    def _sampled(
        self,
        pair: Twins,
        around: Shortcut | None,
        ours: Iterator[Seen],
        ask: Ask,
        ahead: Iterator[Ask],
    ) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray | None] | None]:
        """Yield rows, targets, weights by feed, from places of the original drawn once for all."""
        site, share = pair.candidate, ask.share
        made = self._reference.made(ask, ahead)
        axis, makes = pair.reference.layer.out_channel, pair.reference.node.output.name
        gone = self._lost.get(makes, {}).get(axis)
        weights = self._weights.get(makes)
        for (seen, end), theirs in zip(ours, made, strict=True):
            shape = _without(theirs.shape, axis, gone)
            if not site.corresponds(seen, np.broadcast_to(np.float32(0), shape)):
                yield None
                return
            few = slice(site.count(seen, share * site.fit_rows))
            targets = _columns(theirs.results[:, few], gone, site)
            if around is not None and theirs.shortcut is not None and end is not None:
                lost = self._lost.get(around[0].name, {}).get(axis)
                before = theirs.shortcut[0]
                if before and _without(before, axis, lost) == end.shape == shape:
                    old = _columns(theirs.shortcut[1][:, few], lost, site)
                    with np.errstate(invalid="ignore"):  # sums leave out what is not finite
                        targets = targets + (old - site.results(end, theirs.places[few]))
            rows = site.rows(seen, theirs.places[few])
            own, weights = _taken(weights, len(rows), theirs.places[few])
            yield rows, targets, own

    def _whole(
        self, pair: Twins, around: Shortcut | None, ours: Iterator[Seen], ask: Ask
    ) -> Iterator[tuple[np.ndarray, np.ndarray, None] | None]:
        """Yield rows and targets, feed by feed, of an original that makes other places, too."""
        site, makes, share = pair.candidate, pair.reference.node.output, ask.share
        both = zip(self._reference.peek(ask.values, ask.stop), ours, strict=True)
        for at, (wanted, (seen, end)) in enumerate(both):
            made = self._left(makes, wanted)
            if not site.corresponds(seen, made):
                yield None
                return
            rng = np.random.default_rng([self._seed, at])
            places = site.places(seen, share * site.fit_rows, rng)
            targets = site.results(made, places)
            if around is not None and end is not None:
                before = self._left(around[0], wanted)
                if before.shape == end.shape == made.shape:
                    with np.errstate(invalid="ignore"):
                        old = site.results(before, places) - site.results(end, places)
                        targets = targets + old
            yield site.rows(seen, places), targets, None

    def _ours(self, site: Site, around: Shortcut | None, stop: Node | None) -> Iterator[Seen]:
        """Yield, feed by feed, what the candidate's layer reads, and its end of the shortcut.

        The candidate is run up to the stop on the way, if one is given.
        """
        reads = site.layer.data
        wanted = [reads] if around is None else [reads, around[1]]
        walk = self._candidate
        for seen in walk.peek(wanted) if stop is None else walk.show(stop, wanted):
            yield seen[reads.name], None if around is None else seen[around[1].name]

    def _left(self, value: Value, made: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return what the original made of a value, without what the candidate lacks."""
        array = made[value.name]
        for axis, gone in self._lost.get(value.name, {}).items():
            if axis < array.ndim and gone.max(initial=-1) < array.shape[axis]:
                array = np.delete(array, gone, axis)
        return array

    def _shortcut(self, pair: Twins, stop: Node) -> Shortcut | None:
        """Return what the layer's output is added to, in both models, if it is made by then."""
        found = []
        for site in (pair.reference, pair.candidate):
            output = site.node.output
            reader = query.only_reader(output)
            if reader is None or not reader.is_op("Add"):
                return None
            other = next((v for v in reader.inputs if v is not output), None)
            if other is None or other.data is not None:
                return None
            found.append(other)
        theirs, ours = found
        early = self._reference.is_before(theirs, pair.reference)
        return (theirs, ours) if early and self._candidate.comes_before(ours, stop) else None


def _taken(
    weights: np.ndarray | None, items: int, places: np.ndarray
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Take what places of the next items count, (items, looked at); also return what is left."""
    if weights is None or len(weights) < items or places.max(initial=-1) >= weights.shape[1]:
        return None, None
    return weights[:items, places], weights[items:]


def _without(shape: tuple[int, ...], axis: int, gone: np.ndarray | None) -> tuple[int, ...]:
    """Return extents less what is gone of an axis."""
    if gone is None or axis >= len(shape) or gone.max(initial=-1) >= shape[axis]:
        return shape
    left = list(shape)
    left[axis] -= len(np.unique(gone))
    return tuple(left)


def _columns(results: np.ndarray, gone: np.ndarray | None, site: Site) -> np.ndarray:
    """Return the outputs that a candidate has, of those (items, places, ...) of the original."""
    items, places = results.shape[:2]
    flat = results.reshape(items, places, -1)
    if gone is not None and gone.max(initial=-1) < flat.shape[2]:
        flat = np.delete(flat, gone, axis=2)
    return flat.reshape(items, places, site.groups, site.outputs)
