"""What `quant` proposes: integer operators as one composite move, and weights stored as int8."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ocompress.ir import Model
from ocompress.lossy import Move, Plan, Proposal
from ocompress.lossy.refit import Built
from passes.quantization.choosing import Chooser, Choosing
from passes.quantization.drafting import Drafter
from passes.quantization.placement import Placement
from passes.quantization.reconstruct import Reconstruction
from passes.quantization.scheme import Scheme
from passes.quantization.storable import Storable, addable

INTEGERS = "integer operators"
"""The part that a minimum cut decides as a whole."""
_SHARES = (0.08, 0.004)
"""Parts of the noise that storing may add, where even that of weights alone is too much."""
_LARGER_SHARES = (float("inf"), 40.0, 4.0)
"""The same where the file is larger than allowed."""


@dataclass(frozen=True)
class ToIntegers:
    """Makes integer operators of the units of a placement.

    Attributes:
        drafter: Has the model and how numbers become integers.
        placement: Of its units.
    """

    drafter: Drafter = field(repr=False, compare=False)
    placement: Placement = field(repr=False, compare=False)

    def apply(self, model: Model) -> bool:
        """Make them of a clone of the drafter's model, weights rounded to nearest."""
        model.become(self.drafter.draft(self.placement.chosen).model)
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
        self._plans: dict[tuple[int, float], Plan] = {}

    def leaving(self, share: float) -> Plan:
        """Return the plan at a place of the line from fast to faithful."""
        return self.plan(*self._line[round(share * (len(self._line) - 1))])

    def asked(self) -> Plan:
        """Return the plan of what was chosen."""
        return self.plan(None if self.choosing is None else self.choosing.placement)

    def plan(self, placement: Placement | None, share: float = 1.0) -> Plan:
        """Return the moves of a placement and of the weights that are stored beside it.

        Args:
            placement: None if nothing becomes an integer operator.
            share: Part of the noise that storing may add.
        """
        key = id(placement), share
        if key not in self._plans:
            found: dict[str, Move] = {}
            noise = None
            if placement is not None and placement.chosen:
                assert self.chooser is not None
                assert self.choosing is not None
                noise = self.choosing.noise_of(placement)
                setting, ms = f"{len(placement.chosen)} operators", placement.ns / 1e6
                edit = ToIntegers(self.chooser.drafter, placement)
                cost = self.choosing.cost_of(placement)
                found[INTEGERS] = Move(INTEGERS, "int8", setting, cost, 0, 0.0, ms, edit)
            if self.storable is not None:
                inside = integers_of(found)
                found |= self.storable.moves(inside, share * addable(noise, self._rate))
            self._plans[key] = found
        return self._plans[key]

    def is_timed(self, plan: Plan) -> bool:
        """Whether there are integers in a plan; weights that are stored as such save no time."""
        return INTEGERS in plan and self.searched

    def made(self, plan: Plan) -> Choosing | None:
        """Return the choice that a plan stands for; None if there was nothing to choose."""
        if self.choosing is None:
            return None
        move = plan.get(INTEGERS)
        edit = move.edit if move is not None else None
        placement = edit.placement if isinstance(edit, ToIntegers) else None
        first = self.choosing.placement
        there = placement is first or not (placement or first.chosen)
        found = self.choosing.instead(placement)
        return replace(found, bound=not there and found.refused is None)

    def _placements(self, hurried: bool) -> list[Placement | None]:
        if self.choosing is None:
            return [None]
        known: list[Placement | None] = [s.placement for s in self.choosing.selections]
        first = next((i for i, p in enumerate(known) if p is self.choosing.placement), 0)
        return known[0 if hurried else first :] or [self.choosing.placement]


def integers_of(plan: Plan) -> set[int]:
    """Return the nodes, by id, that become integer operators in a plan."""
    move = plan.get(INTEGERS)
    edit = move.edit if move is not None else None
    return {id(u.node) for u in edit.placement.chosen} if isinstance(edit, ToIntegers) else set()
