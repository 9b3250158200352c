"""Analyses: questions about a model whose answers are cached until the model changes."""

from __future__ import annotations

import weakref
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, cast

from ocompress.analysis.statistics import Observer
from ocompress.analysis.store import MeasurementStore
from ocompress.ir import Facet, Model

if TYPE_CHECKING:
    from ocompress.io.dataset import Dataset

T = TypeVar("T")


class Analysis(ABC, Generic[T]):
    """A question about a model. Subclasses are frozen dataclasses, so equal questions are one.

    Attributes:
        reads: The facets the answer depends on; changing one of them makes it stale.
        of_nodes: Whether the answer holds nodes or values, which a clone of the model has none of.
    """

    reads: ClassVar[Facet] = Facet.ALL & ~Facet.METADATA
    of_nodes: ClassVar[bool] = False

    @abstractmethod
    def compute(self, model: Model, analyses: AnalysisManager) -> T:
        """Answer the question; other analyses are asked through `analyses`."""


@dataclass(frozen=True)
class _Answer:
    reads: Facet
    found: Any
    model: weakref.ref[Model] | None = None
    """The only model that it is an answer for; None if clones have the same."""

    def is_for(self, model: Model) -> bool:
        return self.model is None or self.model() is model


class AnalysisManager:
    """Computes analyses on demand and keeps the answers while they hold."""

    def __init__(self, data: Dataset | None = None, store: MeasurementStore | None = None) -> None:
        """Start with nothing known.

        Args:
            data: Calibration data that analyses may sweep over.
            store: What was measured on these data before; None starts an empty one.
        """
        self.data = data
        self.store = store if store is not None else MeasurementStore()
        self.statistics: dict[tuple[str, Observer], Any] = {}
        self._answers: dict[Analysis[Any], _Answer] = {}
        self._asking: list[Facet] = []

    def get(self, analysis: Analysis[T], model: Model) -> T:
        """Return the answer, computing it if it is not known.

        An answer also goes stale with the answers it was computed from.
        """
        known = self._answers.get(analysis)
        if known is None or not known.is_for(model):
            self._asking.append(analysis.reads)
            found = analysis.compute(model, self)
            whose = weakref.ref(model) if analysis.of_nodes else None
            known = self._answers[analysis] = _Answer(self._asking.pop(), found, whose)
        if self._asking:
            self._asking[-1] |= known.reads
        return cast("T", known.found)

    def invalidate(self, changed: Facet) -> None:
        """Forget every answer that read a facet which changed."""
        if changed & (Facet.TOPOLOGY | Facet.WEIGHTS | Facet.NAMES | Facet.OPSET):
            self.statistics = {}
        self._answers = {q: a for q, a in self._answers.items() if not a.reads & changed}
