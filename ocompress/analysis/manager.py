"""Analyses: questions about a model whose answers are cached until the model changes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, cast

from ocompress.analysis.statistics import Wish
from ocompress.ir import Facet, Model

if TYPE_CHECKING:
    from ocompress.io.dataset import Dataset

T = TypeVar("T")


class Analysis(ABC, Generic[T]):
    """A question about a model. Subclasses are frozen dataclasses, so equal questions are one.

    Attributes:
        reads: The facets the answer depends on; changing one of them makes it stale.
    """

    reads: ClassVar[Facet] = Facet.ALL & ~Facet.METADATA

    @abstractmethod
    def compute(self, model: Model, analyses: AnalysisManager) -> T:
        """Answer the question; other analyses are asked through `analyses`."""


class AnalysisManager:
    """Computes analyses on demand and keeps the answers while they hold."""

    def __init__(self, data: Dataset | None = None) -> None:
        """Start with nothing known.

        Args:
            data: Calibration data that analyses may sweep over.
        """
        self.data = data
        self.statistics: dict[tuple[str, Wish], Any] = {}
        self._answers: dict[Analysis[Any], tuple[Facet, Any]] = {}
        self._asking: list[Facet] = []

    def get(self, analysis: Analysis[T], model: Model) -> T:
        """Return the answer, computing it if it is not known.

        An answer also goes stale with the answers it was computed from.
        """
        if analysis not in self._answers:
            self._asking.append(analysis.reads)
            answer = analysis.compute(model, self)
            reads = self._asking.pop()
            self._answers[analysis] = (reads, answer)
        reads, answer = self._answers[analysis]
        if self._asking:
            self._asking[-1] |= reads
        return cast("T", answer)

    def invalidate(self, changed: Facet) -> None:
        """Forget every answer that read a facet which changed."""
        if changed & (Facet.TOPOLOGY | Facet.WEIGHTS | Facet.NAMES | Facet.OPSET):
            self.statistics = {}
        self._answers = {a: (r, v) for a, (r, v) in self._answers.items() if not r & changed}
