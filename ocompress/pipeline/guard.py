"""Guards judge a model after a lossy pass; what they refuse is rolled back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from ocompress.ir import Model

if TYPE_CHECKING:
    from ocompress.pipeline.base import Pass


class Limit(StrEnum):
    """What may be limited."""

    DROP = "max-drop"
    LATENCY = "latency"
    SIZE = "size"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a guard found.

    Attributes:
        held: Whether the model may stay as it is.
        guard: Name of what judged, a `Limit` mostly.
        message: One sentence with the figures that decided.
        figures: The figures by name.
        runs: Whether the model could be run at all.
    """

    held: bool
    guard: str
    message: str
    figures: Mapping[str, float] = field(default_factory=dict)
    runs: bool = True


class Guard(Protocol):
    """Judges candidates against the model that came in and the best one so far."""

    @property
    def kind(self) -> str:
        """What it limits, a `Limit` mostly."""
        ...

    @property
    def limit(self) -> float:
        """What it allows now: of the drop what may be lost, else a ratio to the original."""
        ...

    def judge(self, candidate: Model, best: Model) -> Verdict:
        """Compare `candidate` with the reference this guard was made for, or with `best`."""
        ...


class Equivalence(Protocol):
    """Compares the outputs of models that should be the same up to rounding."""

    def difference(self, before: Model, after: Model) -> str:
        """Say how the outputs of `after` differ, empty if by no more than rounding.

        Nothing is said where `before` cannot be run.
        """
        ...


@runtime_checkable
class Purse(Protocol):
    """A guard whose limit the passes of a pipeline share.

    Attributes:
        default: Whether nobody asked for the limit.
    """

    default: bool

    def restart(self) -> None:
        """Begin a pipeline: nothing has been spent."""
        ...

    def applies_to(self, item: Pass) -> bool:
        """Whether a pass is limited."""
        ...

    def open(self, item: Pass, best: Model, later: Sequence[Pass]) -> None:
        """Begin a pass that is limited, with its share; `later` are the passes that follow."""
        ...

    def close(self, item: Pass, kept: Model, verdict: Verdict | None) -> None:
        """End a pass, with what is kept and this guard's verdict on it, None if it was refused."""
        ...
