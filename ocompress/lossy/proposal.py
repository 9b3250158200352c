"""What a lossy pass could do to a model, and what came of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ocompress.lossy.layer_times import Times
from ocompress.lossy.refit import Built
from ocompress.pipeline import Context
from ocompress.planning import Move

Plan = Mapping[str, Move]
"""The move of each part that does not stay as it is, by name of the part."""


@dataclass(frozen=True)
class Reason:
    """Why a part stays as it is: a stable code and a sentence."""

    code: str
    why: str


class Proposal(ABC):
    """What a pass could do to a model.

    Attributes:
        layers: Labels of the nodes of each part; the first is what messages call it.
        reasons: Why parts stay as they are, as far as that is known.
    """

    least: float = 0.1
    """Share of what moves save that is left at least when a limit on the drop says how far."""
    finest: float = 0.03
    """Shares that differ by less are alike."""
    hopeful: bool = False
    """Whether the plan that leaves least is likely to hold, so that it is judged first."""
    searched: bool = True
    """Whether limits say which plan is taken, where the options set no goal."""
    goes_further: bool = False
    """Whether there are plans that leave less than `least`, for a file that is too large."""

    def __init__(self, layers: Mapping[str, Sequence[str]]) -> None:
        """Start with the parts."""
        self.layers = layers
        self.reasons: dict[str, Reason] = {}

    def times_of(self, part: str, times: Times) -> dict[str, float]:
        """Return how long the layers of a part take before and after, see `Times.of`."""
        return times.of(self.layers[part])

    @abstractmethod
    def leaving(self, share: float) -> Plan:
        """Return the plan with the least error that leaves a share of what moves save.

        A smaller share never has a smaller error. What cannot be reached is neared.
        """

    def is_timed(self, plan: Plan) -> bool:
        """Whether a plan is worth nothing where the model does not measure faster for it."""
        return bool(plan)

    def serve(self, item: Any, ctx: Context) -> None:  # noqa: B027
        """Prepare for a pass that may differ from another one in `LossyPass.aims`.

        Args:
            item: Has the options.
            ctx: Says what passes come after it.
        """

    def explained(self, plan: Plan) -> list[dict[str, str]]:
        """Return for each part what was chosen, what came second, and why that lost.

        Rows have `name`, `chosen`, `second` and `why`; by default nothing is known.
        """
        return []

    def known(self, plan: Plan) -> Built | None:
        """Return the model of a plan where finding the plan has made it, fitted; by default not."""
        return None

    def drop(self, plan: Plan, part: str) -> None:  # noqa: B027
        """Learn that the move of a part does not pay; by default nothing follows from that."""


@dataclass(frozen=True)
class Chosen:
    """What came of a proposal.

    Attributes:
        plan: The moves that were made.
        built: The model; None if it is as it was.
        share: What `Proposal.leaving` was asked for to find the plan; None if something else did.
    """

    plan: Plan = field(default_factory=dict)
    built: Built | None = None
    share: float | None = None
