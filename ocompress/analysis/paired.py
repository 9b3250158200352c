"""Sweeping two models over the same data side by side, value by value."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from ocompress.analysis.expose import Probe, expose
from ocompress.analysis.observe import pieces_of, plan_sweeps
from ocompress.analysis.staged import Staged
from ocompress.io.dataset import Dataset, Feeds, cut_at
from ocompress.ir import Model
from ocompress.runtime import Level, host_cores


@dataclass(frozen=True)
class Pair:
    """A value of one model and what stands for it in another.

    Attributes:
        reference: Name in the first model.
        candidate: Name in the second one.
    """

    reference: str
    candidate: str


Update = Callable[[Pair, np.ndarray, np.ndarray], None]
"""Takes a pair and what both models made of it, batch by batch."""


def observe_pairs(
    reference: Model,
    candidate: Model,
    pairs: Sequence[Pair],
    data: Dataset,
    update: Update,
    progress: Callable[[int, int], None],
    *,
    level: Level = Level.ALL,
) -> list[Pair]:
    """Run two models over `data` and hand over pairs of values.

    The candidate runs as its file says, with no optimization by the runtime, so that what is
    seen is the arithmetic of its grids and not that of one machine's kernels. Memory is bounded
    as in `observe`; one pair is updated by one thread at a time, in order.

    Args:
        reference: Not changed.
        candidate: Not changed.
        pairs: Which values, each name in one pair only.
        data: Feeds that fit both.
        update: Called for every pair and batch.
        progress: Called with the number of feeds done and their total.
        level: How far the runtime optimizes the reference.

    Returns:
        The pairs that could be seen in both models.

    Raises:
        DataError: If the feeds do not fit.
        RuntimeFailureError: If ONNX Runtime cannot run a model.
    """
    left, right = reference.clone(), candidate.clone()
    probes = expose(left, [p.reference for p in pairs])
    others = {p.name: p for p in expose(right, [p.candidate for p in pairs])}
    left.sort()
    right.sort()
    by_name = {p.reference: p for p in pairs if p.candidate in others}
    probes = [p for p in probes if p.name in by_name]
    pieces, groups = plan_sweeps(left, data, probes, share=2)
    done, total = 0, len(groups) * len(data)
    with ThreadPoolExecutor(host_cores()) as pool:
        for group in groups:
            seen = [by_name[p.name] for p in group]
            theirs = [others[p.candidate] for p in seen]
            first, second = _Eye(left, group, level), _Eye(right, theirs, Level.DISABLED)
            for feeds in data:
                for piece in pieces_of(feeds, pieces, cut_at(data)):
                    for _ in pool.map(update, seen, first.look(piece), second.look(piece)):
                        pass
                done += 1
                progress(done, total)
    return [by_name[p.name] for p in probes]


class _Eye:
    """Sees some values of one model."""

    def __init__(self, model: Model, probes: Sequence[Probe], level: Level) -> None:
        self._probes = probes
        values = [p.value for p in probes if p.value is not None]
        self._names = list(dict.fromkeys(v.name for v in values))
        extra = [v for v in values if not v.is_output]
        self._session = Staged(model, extra_outputs=extra, level=level)

    def look(self, feeds: Feeds) -> list[np.ndarray]:
        """Return the values, in the order of the probes."""
        made = self._session.run(feeds, self._names) if self._names else {}
        return [feeds[p.name] if p.value is None else made[p.value.name] for p in self._probes]
