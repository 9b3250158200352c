"""Choosing which units become integer operators, by time, noise and budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ocompress.diagnostics import Severity
from ocompress.errors import RuntimeFailureError
from ocompress.ir import Node
from ocompress.pipeline import Context
from ocompress.planning import Cell
from ocompress.profiling import time_layers
from passes.quantization.costing import Elements, macs_of
from passes.quantization.drafting import Drafter
from passes.quantization.noise import Noise, measure, scaled_to
from passes.quantization.placement import Placement, Problem
from passes.quantization.selection import Selection, best, front
from passes.quantization.units import Unit

_PROFILER_NS = 2000.0
"""What ONNX Runtime's profiler itself takes for a kernel, at most."""


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
    """

    placement: Placement
    fastest: Placement
    noise: Noise | None = None
    selections: Sequence[Selection] = ()
    measured: bool = False
    bound: bool = False


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
    _slow: dict[tuple[object, ...], bool] = field(default_factory=dict, init=False)

    def choose(self, *, everything: bool) -> Choosing:
        """Choose.

        Args:
            everything: Whether to take all that has an integer kernel, whatever it costs.
        """
        problem = Problem(self.units, self.elements, self.ctx.target)
        if everything:
            return Choosing(problem.everything(), problem.everything())
        if self.costs == "measured":
            return self._pick(self._measured(problem), measured=True)
        found = self._pick(problem, measured=False)
        if self.costs == "auto" and self._is_slow(found.placement):
            return self._pick(self._measured(problem), measured=True)
        return found

    def _pick(self, problem: Problem, *, measured: bool) -> Choosing:
        fastest = problem.solve()
        limited = any(guard.kind == "max-drop" for guard in self.ctx.guards)
        if not fastest.chosen or not (self.rate or limited):
            return Choosing(fastest, fastest, measured=measured)
        noise = self._noise = self._noise or self._measure_noise(problem, fastest)
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
        if not placement.chosen or all(guard.kind != "latency" for guard in self.ctx.guards):
            return False
        key = tuple(placement.choices)
        if key not in self._slow:
            self._slow[key] = self._time(placement)
        return self._slow[key]

    def _time(self, placement: Placement) -> bool:
        draft = self.drafter.draft(placement.chosen)
        verdict = self.ctx.judged("latency", draft.model, self.drafter.model)
        return verdict is not None and not verdict.held

    def _measure_noise(self, problem: Problem, fastest: Placement) -> Noise:
        chosen = problem.everything().chosen
        macs = macs_of(chosen, self.elements)
        scheme = self.drafter.scheme(chosen)
        found = measure(self.drafter.model, scheme, chosen, macs, self.ctx)
        draft = self.drafter.draft(fastest.chosen)
        return scaled_to(found, self.drafter.model, fastest.chosen, draft, self.ctx)

    def _measured(self, problem: Problem) -> Problem:
        """Return the problem with times of this machine."""
        chosen = problem.everything().chosen
        draft = self.drafter.draft(chosen)
        feeds = next(iter(self.ctx.data.take(1)))
        self.ctx.progress("quant: timing layers", 0, 1)
        try:
            float_ns, int8_ns = time_layers([self.drafter.model, draft.model], feeds)
        except RuntimeFailureError as error:
            why = f"layers could not be timed, so the table decides: {error}"
            self.ctx.remark(Severity.WARNING, "not-timed", why)
            return problem
        twins = zip(chosen, draft.twins, strict=True)
        times = {
            id(unit.node): Cell(_time(float_ns, unit, True), _time(int8_ns, twin, False))
            for unit, twin in twins
            if unit.node in float_ns and twin.node in int8_ns
        }
        self.ctx.progress("quant: timing layers", 1, 1)
        return Problem(self.units, self.elements, self.ctx.target, times)


def _time(nodes: Mapping[Node | None, float], unit: Unit, with_tail: bool) -> float:
    """Return the time of a unit without what the profiler itself takes."""
    overhead = min(_PROFILER_NS, *nodes.values())
    spent = nodes[unit.node] - overhead
    if with_tail and unit.tail is not None and unit.tail in nodes:
        spent += nodes[unit.tail] - overhead
    return max(0.0, spent)
