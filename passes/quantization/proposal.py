"""What `quant` proposes: integer operators as one composite move, and weights stored as int8."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ocompress.ir import Model
from ocompress.lossy import Move, Plan, Proposal
from ocompress.lossy.refit import Built
from passes.quantization.choosing import Chooser, Choosing
from passes.quantization.drafting import Draft, Drafter, drafted, units_of
from passes.quantization.grids import integer_values
from passes.quantization.placement import Placement
from passes.quantization.reconstruct import Reconstruction
from passes.quantization.rounding import GridRounding, Rounder
from passes.quantization.scheme import ActivationGrid, Scheme
from passes.quantization.storable import Storable, addable
from passes.quantization.units import Unit

INTEGERS = "integer operators"
"""The part that a minimum cut decides as a whole."""
_SHARES = (0.08, 0.004)
"""Parts of the noise that storing may add, where even that of weights alone is too much."""
_LARGER_SHARES = (float("inf"), 40.0, 4.0)
"""The same where the file is larger than allowed."""


@dataclass(frozen=True)
class ToIntegers:
    """Makes integer operators of some nodes.

    Attributes:
        nodes: Their labels, in graph order.
        excluded: Labels of operators that stay in float whatever stands around them.
        grids: Grid of every value that exists as integers, by name.
        means: Mean of each input channel of nodes whose bias makes up for the error of the weight,
            by label.
        rounding: How weights become integers.
    """

    nodes: tuple[str, ...]
    excluded: tuple[str, ...]
    grids: Mapping[str, ActivationGrid] = field(repr=False)
    means: Mapping[str, tuple[float, ...]] = field(repr=False)
    rounding: GridRounding = field(repr=False)

    @classmethod
    def of(cls, drafter: Drafter, units: Sequence[Unit]) -> ToIntegers:
        """Return the edit that makes what a drafter drafts of units."""
        grids = drafter.grids(units)
        values = integer_values(units)
        return cls(
            tuple(u.node.label for u in units),
            tuple(n.label for n in drafter.excluded),
            {values[key].name: grid for key, grid in grids.items()},
            {label: tuple(map(float, seen)) for label, seen in drafter.means(units).items()},
            drafter.rounding,
        )

    def units(self, model: Model) -> list[Unit]:
        """Return the units of a model that it makes integers of, in graph order."""
        wanted = set(self.nodes)
        return [u for u in units_of(model) if u.node.label in wanted]

    def scheme(self, units: Sequence[Unit]) -> Scheme:
        """Return the integers of its units, weights rounded to nearest."""
        values = integer_values(units)
        grids = {key: self.grids[value.name] for key, value in values.items()}
        means = {label: np.array(seen) for label, seen in self.means.items()}
        return Rounder(self.rounding).scheme(units, grids, means)

    def draft(self, model: Model, units: Sequence[Unit], scheme: Scheme) -> Draft:
        """Return a clone of a model in which its units have the integers of a scheme."""
        wanted = set(self.excluded)
        excluded = [n for _, n in model.nodes() if n.label in wanted]
        return drafted(model, units, scheme, excluded)

    def apply(self, model: Model) -> bool:
        """Make them, weights rounded to nearest; False if one of them is there no more."""
        units = self.units(model)
        known = {value.name for value in integer_values(units).values()}
        if len(units) < len(self.nodes) or not known <= self.grids.keys():
            return False
        model.become(self.draft(model, units, self.scheme(units)).model)
        return True


@dataclass(frozen=True)
class Quantized(Built):
    """A quantized model and what the report says of it.

    Attributes:
        scheme: Grids and weights.
        rounding: What fitting weights found out, by id of the unit's node.
        stored: A row of each weight that is stored as int8.
    """

    scheme: Scheme = field(default_factory=Scheme)
    rounding: Mapping[int, Reconstruction] = field(default_factory=dict)
    stored: list[dict[str, Any]] = field(default_factory=list)


class Placements(Proposal):
    """Placements from fast to faithful, each with the weights that may be stored beside it.

    The first that counts is the best exchange of time for noise; a limit on the latency starts at
    the fastest one.
    """

    hopeful = True

    def __init__(
        self,
        chooser: Chooser | None,
        choosing: Choosing | None,
        storable: Storable | None,
        rate: float,
        *,
        hurried: bool,
        searched: bool,
    ) -> None:
        """Line up the plans.

        Args:
            chooser: Has the units; None if there are none.
            choosing: What it chose.
            storable: Weights that may be stored; None if they stay as they are.
            rate: Share of the time that a noise lower by a factor e is worth.
            hurried: Whether faster placements than the chosen one are wanted, too.
            searched: Whether limits count; if not, the chosen one it is.
        """
        sites = storable.sites if storable is not None else []
        units = chooser.units if chooser is not None else ()
        layers = {INTEGERS: [u.node.label for u in units]} if units else {}
        super().__init__(layers | {s.value.name: [n.label for n in s.nodes] for s in sites})
        self.chooser, self.choosing, self.storable, self._rate = chooser, choosing, storable, rate
        placements = self._placements(hurried)
        more, less = (_LARGER_SHARES, _SHARES) if sites else ((), ())
        self._line = [
            *((placements[0], share) for share in more),
            *((placement, 1.0) for placement in placements),
            *((placements[-1], share) for share in less),
        ]
        self.searched = searched
        self.finest = 0.5 / len(self._line)
        self.least = len(more) / max(len(self._line) - 1, 1)
        self.goes_further = bool(more)
        self._least: float | None = None
        self._plans: dict[tuple[int, float, float], Plan] = {}
        self._made: dict[tuple[str, ...], Placement] = {}
        self._kept: list[Placement] = []  # and so their ids are not used again

    def leaving(self, share: float) -> Plan:
        """Return the plan at a place of the line from fast to faithful."""
        return self.plan(*self._line[round(share * (len(self._line) - 1))])

    def asked(self) -> Plan:
        """Return the plan of what was chosen."""
        return self.plan(None if self.choosing is None else self.choosing.placement)

    def keeping(self, decibels: float) -> Plan:
        """Return the plan of the fastest placement that is expected to keep a signal over noise.

        Args:
            decibels: Of the worst output.
        """
        self._least = decibels
        known = () if self.choosing is None else self.choosing.selections
        found = next((s.placement for s in known if s.sqnr_db >= decibels), None)
        if found is None and self.choosing is not None:
            found = self.choosing.placement
        return self.plan(found, most=10 ** (-decibels / 10))

    def plan(
        self, placement: Placement | None, share: float = 1.0, most: float = float("inf")
    ) -> Plan:
        """Return the moves of a placement and of the weights that are stored beside it.

        Args:
            placement: None if nothing becomes an integer operator.
            share: Part of the noise that storing may add.
            most: Noise over signal power that it may add at most.
        """
        key = id(placement), share, most
        if key not in self._plans:
            found: dict[str, Move] = {}
            noise = None
            if placement is not None and placement.chosen:
                assert self.chooser is not None
                assert self.choosing is not None
                noise = self.choosing.noise_of(placement)
                setting, ms = f"{len(placement.chosen)} operators", placement.ns / 1e6
                edit = ToIntegers.of(self.chooser.drafter, placement.chosen)
                cost = self.choosing.cost_of(placement)
                found[INTEGERS] = Move(INTEGERS, "int8", setting, cost, 0, 0.0, ms, edit)
                self._kept.append(placement)
                self._made[edit.nodes] = placement
            if self.storable is not None:
                inside = self.integers(found)
                allowed = min(share * addable(noise, self._rate), most)
                found |= self.storable.moves(inside, allowed)
            self._plans[key] = found
        return self._plans[key]

    def is_timed(self, plan: Plan) -> bool:
        """Whether there are integers in a plan; weights that are stored as such save no time."""
        return INTEGERS in plan and self.searched

    def integers(self, plan: Plan) -> set[int]:
        """Return the nodes, by id, that become integer operators in a plan."""
        placement = self._placement(plan)
        return set() if placement is None else {id(u.node) for u in placement.chosen}

    def made(self, plan: Plan) -> Choosing | None:
        """Return the choice that a plan stands for; None if there was nothing to choose."""
        if self.choosing is None:
            return None
        placement, first = self._placement(plan), self.choosing.placement
        there = first.chosen == (placement.chosen if placement is not None else [])
        found = self.choosing.instead(placement)
        bound = "" if there or found.refused is not None else "the limit on the drop"
        return replace(found, bound=bound if self._least is None else f"min_sqnr={self._least:g}")

    def _placement(self, plan: Plan) -> Placement | None:
        move = plan.get(INTEGERS)
        edit = move.edit if move is not None else None
        return self._made[edit.nodes] if isinstance(edit, ToIntegers) else None

    def _placements(self, hurried: bool) -> list[Placement | None]:
        if self.choosing is None:
            return [None]
        known: list[Placement | None] = [s.placement for s in self.choosing.selections]
        first = next((i for i, p in enumerate(known) if p is self.choosing.placement), 0)
        return known[0 if hurried else first :] or [self.choosing.placement]
