"""Remarks: what the compiler did to each node, what it left alone, and why. Prints nothing."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar


class Severity(StrEnum):
    """How much a remark matters to the reader."""

    APPLIED = "applied"
    DECLINED = "declined"
    NOTE = "note"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Remark:
    """One sentence about one node.

    Attributes:
        source: Name of the pass (or room) that speaks.
        severity: Whether something was done, declined, or is merely worth knowing.
        code: Stable kebab-case reason, fit for scripts (`shared-weight`).
        message: One sentence for people.
        node: Name of the node concerned, empty when the whole model is meant.
        op_type: Operator of that node, empty when there is none.
    """

    source: str
    severity: Severity
    code: str
    message: str
    node: str = ""
    op_type: str = ""


@dataclass(slots=True)
class Diagnostics:
    """An ordered collection of remarks; only what no longer holds is taken back."""

    remarks: list[Remark] = field(default_factory=list)

    def add(self, remark: Remark) -> None:
        """Append one remark; an exact repetition (fixpoint loops make them) is dropped."""
        if remark not in self._seen:
            self._seen.add(remark)
            self.remarks.append(remark)

    def retract(self, source: str, since: int) -> None:
        """Take back what a pass declined, in remarks from position `since` on: it runs again."""
        kept = [
            r
            for r in self.remarks[since:]
            if r.source != source or r.severity is not Severity.DECLINED
        ]
        self._seen.difference_update(set(self.remarks[since:]) - set(kept))
        self.remarks[since:] = kept

    def forget(self, since: int) -> None:
        """Take back every remark from position `since` on: what they tell did not happen."""
        self._seen.difference_update(self.remarks[since:])
        del self.remarks[since:]

    _seen: set[Remark] = field(default_factory=set)

    def __iter__(self) -> Iterator[Remark]:
        """Iterate over the remarks in the order they were made."""
        return iter(self.remarks)

    def of(self, source: str) -> list[Remark]:
        """Return the remarks of one pass."""
        return [r for r in self.remarks if r.source == source]

    def declined(self, *sources: str) -> Counter[str]:
        """Count refusals by code, of some sources or, without any, of all."""
        return Counter(
            r.code
            for r in self.remarks
            if r.severity is Severity.DECLINED and (not sources or r.source in sources)
        )


class Finding:
    """What a room found or measured: a frozen dataclass that can be written as JSON.

    Attributes:
        derived: Names of properties that are written after the fields.
    """

    __slots__ = ()
    derived: ClassVar[tuple[str, ...]] = ()

    def to_json(self) -> dict[str, Any]:
        """Return JSON types only, in order of declaration; numbers that are not finite are None."""
        names = [f.name for f in dataclasses.fields(self)]  # type: ignore[arg-type]
        return {name: plain(getattr(self, name)) for name in (*names, *self.derived)}


def plain(value: Any) -> Any:
    """Return a value as JSON types only; numbers that are not finite are None."""
    if isinstance(value, Finding):
        return value.to_json()
    if isinstance(value, StrEnum):
        return value.value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    return value
