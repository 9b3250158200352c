"""Choosing which units become integer operators, by time, noise and budget."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from ocompress.diagnostics import Severity
from ocompress.errors import RuntimeFailureError
from ocompress.pipeline import Context, Limit
from ocompress.pipeline.naming import matches
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
        bound: What decided in place of the price of noise; empty if nothing did.
        refused: What was chosen first and turned out too slow, None if nothing was.
        why: What the guard said of that.
    """

    placement: Placement
    fastest: Placement
    noise: Noise | None = None
    selections: Sequence[Selection] = ()
    measured: bool = False
    bound: str = ""
    refused: Placement | None = None
    why: str = ""

    def instead(self, placement: Placement | None) -> Choosing:
        """Return the choice of another placement, of no integers at all if it is None."""
        if placement is None:
            old = self.placement
            none = Placement(old.units, [Choice.FLOAT] * len(old.units), old.cells)
            placement = self.selections[-1].placement if self.selections else none
        return replace(self, placement=placement)

    def noise_of(self, placement: Placement) -> float | None:
        """Return the noise of a placement, None without integers, 0 if it was not measured."""
        if not placement.chosen:
            return None
        return self.noise.total(placement.chosen) if self.noise else 0.0

    def cost_of(self, placement: Placement) -> float:
        """Return what a placement costs in the currency of all moves, 0 if it was not measured."""
        return self.noise.total(placement.chosen) * self.noise.worth if self.noise else 0.0


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
    _problem: PlacementProblem = field(init=False)

    def choose(self, given: Sequence[str] | None = None) -> Choosing:
        """Choose the best exchange of time for noise; limits are not looked at.

        Args:
            given: Globs of labels of nodes that stay in float: all others that have an integer
                kernel become integers, whatever it costs. None leaves that open.
        """
        self._problem = problem = PlacementProblem(self.units, self.elements, self.ctx.target)
        if given is not None:
            nodes = (u.node for u in self.units)
            but = {id(n) for n in nodes if matches(n.label, given)}
            self._settle(placement := problem.everything(but))
            return Choosing(placement, placement)
        if self.costs == "measured":
            self._measure_times()
            return self._pick(self._problem, measured=True)
        found = self._pick(problem, measured=False)
        if self.costs == "auto" and self._is_off(found.placement):
            self._measure_times()
            found = self._pick(self._problem, measured=True)
        return found

    def warier(self, refused: Choosing, why: str) -> Iterator[Choosing]:
        """Yield choices with fewer and fewer integers, since one turned out too slow.

        Args:
            refused: That choice.
            why: What the guard says of it.
        """
        for factor in _WARINESS:
            fewer = self._pick(self._problem.with_conversions(factor), measured=refused.measured)
            yield replace(fewer, refused=refused.placement, why=why)

    def _is_off(self, placement: Placement) -> bool:
        """Whether a placement is too slow here, or not as fast as was predicted, or faster.

        Nothing shows whether a placement without integers is right, so that is to be measured.
        """
        if not self.ctx.allowance.has(Limit.LATENCY):
            return False
        if not placement.chosen:
            return True
        draft = self.drafter.draft(placement.chosen)
        verdict = self.ctx.allowance.judged(Limit.LATENCY, draft.model, self.drafter.model)
        if verdict is None or not verdict.held:
            return verdict is not None
        try:
            units = self._problem.everything().chosen
            share = share_of(self.drafter.model, units, self.ctx.timed_feeds)
        except RuntimeFailureError:
            return False
        ratio = placement.ns / max(self._problem.float_ns, 1.0)
        return part(share * ratio + 1 - share, verdict)

    def _pick(self, problem: PlacementProblem, *, measured: bool) -> Choosing:
        fastest = problem.solve()
        if not fastest.chosen or not (self.rate or self.ctx.allowance.has(Limit.DROP)):
            self._settle(fastest)
            return Choosing(fastest, fastest, measured=measured)
        if self._noise is None:
            self._noise = self._calibration().measure(fastest.chosen)
        selections = front(problem, self._noise)
        limited = self.ctx.fixed or self.ctx.allowance.is_asked_for(Limit.DROP)
        chosen = selections[best(selections, self.rate, limited=limited)].placement
        return Choosing(chosen, fastest, self._noise, selections, measured)

    def _calibration(self) -> Calibration:
        units = self._problem.everything().chosen
        return Calibration(self.drafter, units, macs_of(units, self.elements), self.ctx)

    def _settle(self, placement: Placement) -> None:
        """Choose ranges where noise is not measured."""
        chooses = self.drafter.rounding.chooses_ranges
        if placement.chosen and chooses and not self._settled:
            self._settled = True
            self._calibration().settle(placement.chosen, {})

    def _measure_times(self) -> None:
        """Go by times of this machine from now on, if layers can be timed."""
        self.ctx.progress("quant: timing layers", 0, 1)
        units = self._problem.everything().chosen
        try:
            times = measure_times(self.drafter, units, self.ctx.timed_feeds)
        except RuntimeFailureError as error:
            why = f"layers could not be timed, so the table decides: {error}"
            self.ctx.remark(Severity.WARNING, "not-timed", why)
            return
        self.ctx.progress("quant: timing layers", 1, 1)
        self._problem = PlacementProblem(self.units, self.elements, self.ctx.target, times)
