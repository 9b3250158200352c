"""Outputs that have nothing to do with the reference's any more.

A candidate may be a little worse than its reference; how much worse is allowed is for the user to
say. But an output is lost, whatever the limits, if a constant would have done as well:

- it is the same for every input, and the reference's is not;
- its error is as large as its signal (less than 1 dB), and its decisions agree no better than
  halfway between chance and equality (Cohen's kappa below 0.5), if it makes any;
- its decisions agree no better than chance (kappa below 0.1), and its error is about as large as
  what the reference varies by (less than 3 dB).

Kappa (Cohen, Educational and Psychological Measurement 20, 1960) is agreement over what is left
for it beyond chance, so that it is 0 for a constant decision however frequent that one is. Parts
of an output that are in units of their own, such as boxes beside scores, are looked at one by one.
Outputs that a random operator has a hand in differ from run to run and are not looked at.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ocompress.analysis.output_errors import output_parts
from ocompress.analysis.output_parts import OutputPart
from ocompress.analysis.randomness import random_outputs
from ocompress.ir import Model
from ocompress.validation.decisions import DecisionRule, as_float, is_float
from ocompress.validation.relation import Chance, Movement, PartSum, real
from ocompress.validation.result import RELATED, Check

_NO_SIGNAL_DB, _NO_VARIANCE_DB = 1.0, 3.0
_CHANCE, _HALFWAY = 0.1, 0.5
_FIRES = 0.05
"""A part of probabilities that never comes above this holds nothing that could be lost."""
_FAINT = 1e-3
"""A part this much smaller than the largest one of its output holds nothing either."""


@dataclass(slots=True)
class _OutputSum:
    """Everything that tells whether one output is lost."""

    name: str
    parts: list[PartSum]
    chance: Chance
    numeric: bool
    within_unit: bool
    elements: list[int] = field(default_factory=lambda: [0, 0])
    moves: tuple[Movement, Movement] = field(default_factory=lambda: (Movement(), Movement()))

    def update(self, reference: np.ndarray, candidate: np.ndarray, samples: int) -> None:
        """Take in one feed; one whose shape changed tells nothing."""
        self.elements[0] += reference.size
        self.elements[1] += candidate.size
        if reference.shape != candidate.shape or not reference.size:
            return
        self.chance.update(reference, candidate, within_unit=self.within_unit)
        if self.numeric:
            x, y = (real(a) for a in (reference, candidate))
            for part in self.parts:
                part.update(x, y)
            for moves, values in zip(self.moves, (x, y), strict=True):
                moves.update(values, samples)

    def loss(self) -> str:
        """Say how the output is lost, empty if it is not."""
        if self.elements[0] and not self.elements[1]:
            return "it is empty for every input"
        if len(self.parts) > 1:
            return next(self._lost_parts(), "")
        return self._lost(self.parts[0], self.chance)

    def _lost(self, part: PartSum, chance: Chance) -> str:
        share, random = 100 * chance.agreement, 100 * chance.by_chance
        if (
            chance.varies
            and chance.kappa < _CHANCE
            and not (self.numeric and part.variance_db >= _NO_VARIANCE_DB)
        ):
            return (
                f"its decisions agree in {share:.1f} %, which is no better than chance "
                f"({random:.1f} %)"
            )
        if self.numeric and self.moves[0].stops(self.moves[1]):
            return "it is the same for every input"
        if self.numeric and part.signal_db < _NO_SIGNAL_DB and chance.kappa < _HALFWAY:
            return f"its error is as large as its signal ({part.signal_db:.1f} dB)"
        return ""

    def _lost_parts(self) -> Iterator[str]:
        largest = max(p.size for p in self.parts)
        for part in self.parts:
            channels = part.part.channels
            if part.part.within_unit:
                counts = part.largest >= _FIRES
            else:
                several = channels is None or len(channels) > 1
                counts = several and part.size >= _FAINT * largest
            if not counts:
                continue
            where = f"in channels {part.part.name}"
            if part.is_still:
                yield f"{where} it is the same for every input"
            elif part.signal_db < _NO_SIGNAL_DB:
                yield f"{where} its error is as large as its signal ({part.signal_db:.1f} dB)"


class Collapse:
    """Watches the outputs of one candidate."""

    def __init__(self, reference: Model) -> None:
        """Begin with nothing.

        Args:
            reference: The original, whose graph tells the parts of its outputs.
        """
        self._model = reference
        self._random = random_outputs(reference)
        self._sums: dict[str, _OutputSum] | None = None

    def update(
        self,
        reference: Mapping[str, np.ndarray],
        candidate: Mapping[str, np.ndarray],
        samples: int,
    ) -> None:
        """Take in one feed's outputs, of so many samples."""
        if self._sums is None:
            self._sums = self._begin(reference)
        for name, output in self._sums.items():
            if name in reference and name in candidate:
                output.update(reference[name], candidate[name], samples)

    def losses(self) -> dict[str, str]:
        """Return what is wrong with the outputs that are lost, by name."""
        found = {name: output.loss() for name, output in (self._sums or {}).items()}
        return {name: why for name, why in found.items() if why}

    def remarks(self) -> list[str]:
        """Return what is said of outputs that were not looked at."""
        return [
            f"output {name!r} depends on the random node {node!r}, so every run of it differs"
            for name, node in self._random.items()
        ]

    def _begin(self, reference: Mapping[str, np.ndarray]) -> dict[str, _OutputSum]:
        watched = {n: a for n, a in reference.items() if n not in self._random}
        floats = {n: as_float(a) for n, a in watched.items() if is_float(a)}
        parts = output_parts(self._model, floats)
        return {
            name: _OutputSum(
                name,
                [PartSum(p) for p in parts.get(name) or (OutputPart(),)],
                Chance(DecisionRule.for_output(array)),
                array.dtype.kind not in "OUS",
                _is_unit(array),
            )
            for name, array in watched.items()
        }


def collapse_check(watched: Sequence[Collapse]) -> Check:
    """Return whether every output has still something to do with the reference's.

    Args:
        watched: One for each optimization level.
    """
    lost = {name: why for one in watched for name, why in one.losses().items()}
    said = "; ".join(f"output {name!r} collapsed: {why}" for name, why in lost.items())
    return Check(RELATED, not lost, 0, len(lost), said or "no output has collapsed")


def _is_unit(array: np.ndarray) -> bool:
    """Whether an output holds probabilities, as far as the first feed tells."""
    values = as_float(array) if is_float(array) else np.zeros(0)
    values = values[np.isfinite(values)]
    return bool(values.size) and bool(values.min() >= 0) and bool(values.max() <= 1)
