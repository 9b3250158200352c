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
from ocompress.analysis.regression import RegressionSums
from ocompress.analysis.walk import Walk
from ocompress.io.dataset import Dataset
from ocompress.ir import Model, Node, Value, query

Lost = Mapping[str, Mapping[int, np.ndarray]]
"""Which elements of the original's values the candidate lacks, by name of the value and axis.

An axis may be the channels of one layer, and the places or the batch of another: a layer over time
behind channels, heads folded into the batch of a convolution.
"""
Look = tuple[np.ndarray, np.ndarray, tuple[np.ndarray, np.ndarray] | None]


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
    """A walk through the original and one through what becomes of it."""

    def __init__(
        self,
        reference: Model,
        candidate: Model,
        data: Dataset,
        *,
        lost: Lost | None = None,
        seed: int = 0,
    ) -> None:
        """Stop before the first nodes.

        Args:
            reference: The original.
            candidate: The model that is changed on the way.
            data: Feeds that fit both.
            lost: What the candidate lacks; None if nothing.
            seed: Draws the places that are looked at.
        """
        self._reference = Walk(reference, data)
        self._candidate = Walk(candidate, data)
        self._lost = lost or {}
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
        first = twins[0]
        self._candidate.before(self._stop(first.candidate))
        self._reference.past(first.reference.node)
        sums = RegressionSums(self._samples)
        for pair in twins:
            for at, look in enumerate(self._look(pair)):
                share = 1 / (len(twins) * self._feeds)
                if not _take(sums, pair.candidate, look, self._rng(at), share):
                    return None
        return sums

    def _stop(self, site: Site) -> Node:
        """Return where to wait for a layer: before a reshape that it reads.

        What takes its place may read what is reshaped.
        """
        maker = site.layer.data.producer
        reshapes = maker is not None and maker.is_op("Flatten", "Reshape")
        if maker is not None and reshapes and self._candidate.ahead(maker):
            return maker
        return site.node

    @property
    def _feeds(self) -> int:
        return max(1, self._candidate.feeds)

    def _rng(self, at: int) -> np.random.Generator:
        return np.random.default_rng([self._seed, at])

    def _look(self, pair: Twins) -> Iterator[Look]:
        """Yield, feed by feed, what is read, what should be made, and both ends of a shortcut."""
        reads, makes = pair.candidate.layer.data, pair.reference.node.output
        around = self._shortcut(pair)
        theirs = [makes] if around is None else [makes, around[0]]
        ours = [reads] if around is None else [reads, around[1]]
        for wanted, seen in zip(
            self._reference.peek(theirs), self._candidate.peek(ours), strict=True
        ):
            lost = None
            if around is not None:
                lost = self._left(around[0], wanted), seen[around[1].name]
            yield seen[reads.name], self._left(makes, wanted), lost

    def _left(self, value: Value, made: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return what the original made of a value, without what the candidate lacks."""
        array = made[value.name]
        for axis, gone in self._lost.get(value.name, {}).items():
            if axis < array.ndim and gone.max(initial=-1) < array.shape[axis]:
                array = np.delete(array, gone, axis)
        return array

    def _shortcut(self, pair: Twins) -> tuple[Value, Value] | None:
        """Return what the layer's output is added to, in both models, if it was made already."""
        found = []
        for site, walk in ((pair.reference, self._reference), (pair.candidate, self._candidate)):
            output = site.node.output
            reader = query.only_reader(output)
            if reader is None or not reader.is_op("Add"):
                return None
            other = next((v for v in reader.inputs if v is not output), None)
            if other is None or other.data is not None or not walk.has(other):
                return None
            found.append(other)
        return found[0], found[1]


def _take(
    sums: RegressionSums, site: Site, look: Look, rng: np.random.Generator, share: float
) -> bool:
    """Add the rows of one feed; False if rows and outputs do not belong together."""
    seen, made, lost = look
    if not site.corresponds(seen, made):
        return False
    places = site.places(seen, share, rng)
    targets = site.results(made, places)
    if lost is not None and lost[0].shape == lost[1].shape == made.shape:
        before, after = (site.results(end, places) for end in lost)
        targets = targets + (before - after)
    sums.update(site.rows(seen, places), targets)
    return True
