"""Times of single layers, for passes that ask what would pay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from ocompress.io.dataset import Feeds
from ocompress.ir import Model


class Clock(Protocol):
    """Measures on the machine that the result is for.

    Attributes:
        feeds: The call of the model that it times.
    """

    feeds: Feeds

    def layer_times(self, models: Sequence[Model]) -> list[Mapping[str, float]]:
        """Return for each model the milliseconds of its layers in one run, by label of the node.

        Raises:
            RuntimeFailureError: If a model cannot be run.
        """
        ...
