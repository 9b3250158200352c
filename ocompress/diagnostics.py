"""Remarks: what the compiler did to each node, what it left alone, and why. Prints nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum


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
    """An ordered, append-only collection of remarks."""

    remarks: list[Remark] = field(default_factory=list)

    def add(self, remark: Remark) -> None:
        """Append one remark; an exact repetition (fixpoint loops make them) is dropped."""
        if remark not in self._seen:
            self._seen.add(remark)
            self.remarks.append(remark)

    _seen: set[Remark] = field(default_factory=set)

    def __iter__(self) -> Iterator[Remark]:
        """Iterate over the remarks in the order they were made."""
        return iter(self.remarks)

    def of(self, source: str) -> list[Remark]:
        """Return the remarks of one pass."""
        return [r for r in self.remarks if r.source == source]

    def declined(self, source: str = "") -> Counter[str]:
        """Count refusals by code, of one source or of all."""
        return Counter(
            r.code
            for r in self.remarks
            if r.severity is Severity.DECLINED and source in ("", r.source)
        )
