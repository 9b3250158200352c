"""The clock that passes ask how long layers take."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from ocompress.io.dataset import Feeds
from ocompress.ir import Model, Node
from ocompress.profiling.layer_times import time_layers

_ROUNDS, _TURN_SECONDS = 3, 0.08
"""Turns of each model, and about how long one takes."""


class LayerClock:
    """Times the layers of models on this machine, in turns."""

    def __init__(self, feeds: Feeds, *, threads: int = 1) -> None:
        """Remember what to run.

        Args:
            feeds: One call of the model.
            threads: Threads within an operator; 0 takes all cores.
        """
        self.feeds = feeds
        self._threads = threads

    def layer_times(self, models: Sequence[Model]) -> list[Mapping[str, float]]:
        """Return for each model the milliseconds of its layers in one run, by label of the node.

        Raises:
            RuntimeFailureError: If a model cannot be run.
        """
        found = time_layers(
            models,
            self.feeds,
            threads=self._threads,
            rounds=_ROUNDS,
            seconds=_TURN_SECONDS,
        )
        return [_by_label(times) for times in found]


def _by_label(times: Mapping[Node | None, float]) -> dict[str, float]:
    """Return milliseconds by label from nanoseconds by node; nodes of one label are added up."""
    found: dict[str, float] = defaultdict(float)
    for node, spent in times.items():
        found["" if node is None else node.label] += spent / 1e6
    return dict(found)
