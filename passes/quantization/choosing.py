"""Choosing which units become integer operators, by time, noise and budget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from ocompress.diagnostics import Severity
from ocompress.errors import RuntimeFailureError
from ocompress.pipeline import Context, Verdict
from ocompress.planning import Choice
from passes.quantization.calibrating import Calibration
from passes.quantization.costing import Elements, macs_of
from passes.quantization.drafting import Drafter
from passes.quantization.noise import Noise
from passes.quantization.placement import Placement, PlacementProblem
from passes.quantization.selection import Selection, best, front
from passes.quantization.timing import measure_times, part, share_of
from passes.quantization.units import Unit

_WARINESS = (2.0, 4.0, 8.0)
"""What conversions are taken to cost, over what is known of them, once a choice was too slow."""


@dataclass(frozen=True)
class Choosing:
    """What was chosen, and between what.

    Attributes:
        placement: What was chosen.
        fastest: What would have been without a look at noise.
        noise: Noise of each unit, None if it was not measured.
        selections: The placements worth having, from fast to faithful.
        measured: Whether times were measured here.
        bound: Whether a limit on the drop decided.
        refused: What was chosen first and turned out too slow, None if nothing was.
        why: What the guard said of that.
    """

    placement: Placement
    fastest: Placement
    noise: Noise | None = None
    selections: Sequence[Selection] = ()
    measured: bool = False
    bound: bool = False
    refused: Placement | None = None
    why: str = ""

    def without_integers(self, why: str) -> Choosing:
        """Return the choice of no integers at all, since what was chosen is too slow.

        Args:
            why: What the guard says.
        """
        old = self.placement
        none = Placement(old.units, [Choice.FLOAT] * len(old.units), old.cells)
        chosen = self.selections[-1].placement if self.selections else none
        return replace(self, placement=chosen, refused=self.refused or old, why=self.why or why)


@dataclass
class Chooser:
    """Chooses among units of one model.

    Attributes:
        drafter: Quantizes them.
        units: The candidates.
        elements: Size of each value for one sample.
        costs: `table`, `measured` or `auto`.
        rate: Share of the time that a noise lower by a factor e is worth.
        ctx: Has target, data and budget.
    """

    drafter: Drafter
    units: Sequence[Unit]
    elements: Elements
    costs: str
    rate: float
    ctx: Context
    _noise: Noise | None = field(default=None, init=False)
    _settled: bool = field(default=False, init=False)
    _timed: dict[tuple[object, ...], Verdict | None] = field(default_factory=dict, init=False)

    def choose(self, *, everything: bool) -> Choosing:
        """Choose.

        Args:
            everything: Whether to take all that has an integer kernel, whatever it costs.
        """
        problem = PlacementProblem(self.units, self.elements, self.ctx.target)
        if everything:
            self._settle(problem.everything(), problem)
            return Choosing(problem.everything(), problem.everything())
        if self.costs == "measured":
            problem = self._measured(problem)
            return self._fast_enough(self._pick(problem, measured=True), problem)
        found = self._pick(problem, measured=False)
        if self.costs == "auto" and self._is_off(found.placement, problem):
            problem = self._measured(problem)
            found = self._pick(problem, measured=True)
        return self._fast_enough(found, problem)

    def _is_off(self, placement: Placement, problem: PlacementProblem) -> bool:
        """Whether a placement is too slow here, or not as fast as was predicted, or faster."""
        verdict = self._verdict(placement)
        if verdict is None or not verdict.held:
            return verdict is not None
        try:
            units = problem.everything().chosen
            share = share_of(self.drafter.model, units, self.ctx.timed_feeds)
        except RuntimeFailureError:
            return False
        ratio = placement.ns / max(problem.float_ns, 1.0)
        return part(share * ratio + 1 - share, verdict)

    def _fast_enough(self, found: Choosing, problem: PlacementProblem) -> Choosing:
        """Return a choice that is fast enough here, with fewer and fewer integers."""
        verdict = self._verdict(found.placement)
        if verdict is None or verdict.held:
            return found
        for factor in _WARINESS:
            fewer = self._pick(problem.with_conversions(factor), measured=found.measured)
            if not self._is_slow(fewer.placement):
                return replace(fewer, refused=found.placement, why=verdict.message)
        return found.without_integers(verdict.message)

    def _pick(self, problem: PlacementProblem, *, measured: bool) -> Choosing:
        fastest = problem.solve()
        limited = any(guard.kind == "max-drop" for guard in self.ctx.guards)
        if not fastest.chosen or not (self.rate or limited):
            self._settle(fastest, problem)
            return Choosing(fastest, fastest, measured=measured)
        if self._noise is None:
            self._noise = self._calibration(problem).measure(fastest.chosen)
        noise = self._noise
        selections = front(problem, noise)
        first = best(selections, self.rate)
        index = self._within_latency(selections, self._within_drop(selections, first))
        return Choosing(
            selections[index].placement, fastest, noise, selections, measured, index != first
        )

    def _within_drop(self, selections: Sequence[Selection], first: int) -> int:
        """Return the fastest selection from `first` on that keeps to the limit on the drop.

        By halving: what is more faithful loses less. The last one changes nothing, so it holds.
        """
        if self._holds(selections[first].placement):
            return first
        low, high = first, len(selections) - 1
        while high - low > 1:
            middle = (low + high) // 2
            if self._holds(selections[middle].placement):
                high = middle
            else:
                low = middle
        return high

    def _within_latency(self, selections: Sequence[Selection], first: int) -> int:
        """Return the most faithful selection up to `first` that is fast enough here.

        `first` itself if none is, or if those that are lose too much.
        """
        if not self._is_slow(selections[first].placement):
            return first
        if first == 0 or self._is_slow(selections[0].placement):
            return first
        low, high = 0, first
        while high - low > 1:
            middle = (low + high) // 2
            if self._is_slow(selections[middle].placement):
                high = middle
            else:
                low = middle
        return low if self._holds(selections[low].placement) else first

    def _holds(self, placement: Placement) -> bool:
        if not placement.chosen or all(g.kind != "max-drop" for g in self.ctx.guards):
            return True
        draft = self.drafter.draft(placement.chosen)
        verdict = self.ctx.judged("max-drop", draft.model, self.drafter.model)
        return verdict is None or verdict.held

    def _is_slow(self, placement: Placement) -> bool:
        verdict = self._verdict(placement)
        return verdict is not None and not verdict.held

    def _verdict(self, placement: Placement) -> Verdict | None:
        """Return what the guard of the latency says; None without one, or without integers."""
        if not placement.chosen or all(guard.kind != "latency" for guard in self.ctx.guards):
            return None
        key = tuple(placement.choices)
        if key not in self._timed:
            draft = self.drafter.draft(placement.chosen)
            self._timed[key] = self.ctx.judged("latency", draft.model, self.drafter.model)
        return self._timed[key]

    def _calibration(self, problem: PlacementProblem) -> Calibration:
        units = problem.everything().chosen
        return Calibration(self.drafter, units, macs_of(units, self.elements), self.ctx)

    def _settle(self, placement: Placement, problem: PlacementProblem) -> None:
        """Choose ranges where noise is not measured."""
        chooses = self.drafter.rounding.chooses_ranges
        if placement.chosen and chooses and not self._settled:
            self._settled = True
            self._calibration(problem).settle(placement.chosen, {})

    def _measured(self, problem: PlacementProblem) -> PlacementProblem:
        """Return the problem with times of this machine."""
        self.ctx.progress("quant: timing layers", 0, 1)
        try:
            times = measure_times(self.drafter, problem.everything().chosen, self.ctx.timed_feeds)
        except RuntimeFailureError as error:
            why = f"layers could not be timed, so the table decides: {error}"
            self.ctx.remark(Severity.WARNING, "not-timed", why)
            return problem
        self.ctx.progress("quant: timing layers", 1, 1)
        return PlacementProblem(self.units, self.elements, self.ctx.target, times)
