"""Passes that project weights onto what takes few bits: what they have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from ocompress.ir import DType, Facet, Model
from ocompress.lossy import KEEP, LossyPass, Move, MoveTable, Plan, TableProposal, applying
from ocompress.lossy.ablation import Change, Trial, tried
from ocompress.lossy.engine import Chosen, Reason
from ocompress.lossy.layer_weights import OP_TYPES, LayerWeight, Rules
from ocompress.lossy.refit import Built
from ocompress.pipeline import Context, Outcome, option, stored_as
from ocompress.pipeline.naming import check_known, check_patterns
from passes import order
from passes.sharing import projected
from passes.sharing.layers import Measured, WeightStack, measured
from passes.sharing.pricing import place
from passes.sharing.projected import Code, Projection
from passes.sharing.signed_inputs import SignedInputs
from passes.sharing.walking import collected

_SHORT = Reason("short-numbers", "its numbers have 16 bits, in which no file finds the form again")
_SINGLE = 4
"""Bytes of a number of single precision."""
_LEAST = 0.02
"""Share of the bytes that moves may leave."""


class ProjectedProposal(TableProposal):
    """Moves that save bytes, with how many weights there are.

    Attributes:
        elements: Weights of all layers that may change.
    """

    def __init__(
        self, layers: Mapping[str, Sequence[str]], table: MoveTable, elements: int
    ) -> None:
        """Start with the moves of each layer."""
        super().__init__(layers, table, "bytes")
        self.least = _LEAST
        self.elements = elements

    def taking_bits(self, bits: float) -> Plan:
        """Return the plan with the least error that takes so many bits of a weight in the mean."""
        whole = self.table.total({}, "bytes")
        return self.within("bytes", bits * self.elements / (8 * max(whole, 1)))

    def bits_of(self, plan: Plan) -> float:
        """Return the bits that all weights take."""
        return 8 * self.table.total({}, "bytes") * (self.left(plan, "bytes") or 0.0)


class ProjectingPass(LossyPass):
    """A pass whose moves put weights into a form that says them in few bits."""

    after = order.TO_QUANTIZE
    noun = "projections"
    saves_time = False
    weights_of = ("Conv", "ConvTranspose", "Gemm", "MatMul")
    may_change = Facet.WEIGHTS | Facet.TOPOLOGY | Facet.NAMES
    usual: ClassVar[Code]
    """The form where nothing says how far."""
    in_half: ClassVar[bool] = False
    """Whether files find the form in weights of a type of 16 bits."""
    in_cast: ClassVar[bool] = True
    """Whether it outlasts rounding to 16 bits, where files hold weights of 32 bits in these."""

    fit: bool = option(
        True, help="With data, let weights make up for each other's errors, layer by layer."
    )
    exclude: tuple[str, ...] = option((), help="Globs of node names to leave alone.")
    op_types: tuple[str, ...] = option(
        ("Conv", "ConvTranspose", "Gemm", "MatMul"), help="Operators whose weights are changed."
    )
    smallest: int = option(256, help="Leave weights with fewer elements alone.", at_least=0)

    def __post_init__(self) -> None:
        """Check operators."""
        super().__post_init__()
        check_known(self.op_types, OP_TYPES, self.name, "op_types")

    @property
    def spares_ends(self) -> bool:
        """Whether the first and the last layers stay as they are."""
        return False

    def signs(self, own: Measured, ctx: Context) -> SignedInputs | Reason | None:
        """Return what the inputs of a layer are compared with, if it is to read their signs.

        A reason says why the layer stays as it is.
        """
        return None

    @abstractmethod
    def codes(self, layer: WeightStack) -> Sequence[Code] | Reason:
        """Return the forms that a layer may take, or why it can take none."""

    def preview(self, model: Model, ctx: Context) -> Outcome:
        """Count the weights that may be changed."""
        found = self._find(model, ctx)
        return Outcome(counts={"weights that may be changed": len(found)} if found else {})

    def propose(self, model: Model, ctx: Context) -> ProjectedProposal:
        """Put every layer into every form, and find out what that costs.

        Raises:
            OptionError: If a name pattern matches nothing.
        """
        weights = self._find(model, ctx)
        data = ctx if self.fit and ctx.has_data and weights else None
        layers = []
        for own in measured(model, weights, data):
            signs = self.signs(own, ctx)
            if isinstance(signs, Reason):
                ctx.skip_each(own.layer.weight.nodes, signs.code, signs.why)
            else:
                layers.append((own, signs))
        table = _table(self, model, layers, data)
        names = [(own.layer.weight.name, own.layer.weight.nodes) for own, _ in layers]
        labels = {name: [n.label for n in nodes] for name, nodes in names}
        elements = sum(own.layer.weight.array.size for own, _ in layers)
        return ProjectedProposal(labels, table, elements)

    def _find(self, model: Model, ctx: Context) -> list[LayerWeight]:
        check_patterns(model, self.exclude, self.name)
        rules = Rules(self.op_types, self.exclude, self.spares_ends, True, self.smallest)
        found, most = [], stored_as(model)
        for weight in collected(model, rules, ctx):
            if self._is_short(weight, most):
                ctx.skip_each(weight.nodes, _SHORT.code, _SHORT.why)
                continue
            codes = self.codes(WeightStack(weight))
            if isinstance(codes, Reason):
                ctx.skip_each(weight.nodes, codes.code, codes.why)
            else:
                found.append(weight)
        return found

    def _is_short(self, weight: LayerWeight, most: DType | None) -> bool:
        """Whether numbers of a weight are too short for the form."""
        if weight.array.itemsize < _SINGLE:
            return not self.in_half
        held = most if weight.value.packed is None else weight.value.packed.largest.dtype
        return not self.in_cast and held in (DType.FLOAT16, DType.BFLOAT16)

    def asked(self, proposal: ProjectedProposal) -> Plan:
        """Return the plan of the usual form, or of a goal's; of the fewest bytes of several."""
        if not self.has_goal:
            return _with_setting(proposal, self.usual.setting)
        table = proposal.table
        return proposal.plan({part: table.least(part, "bytes") for part in table.rows})

    def build(self, model: Model, plan: Plan, ctx: Context, *, fit: bool) -> Built:
        """Return the model of projected layers, layer after layer fitted."""
        return projected.build(model, plan, ctx if fit and self.fit and ctx.has_data else None)

    def finish(self, model: Model, proposal: Any, chosen: Chosen, ctx: Context) -> Outcome:
        """Say of each weight what became of it, and change the model."""
        before = _inputs(model)
        outcome = applying.finish(self, model, proposal, chosen, ctx)
        if not outcome or _inputs(model) != before:  # a bias makes up for a mean
            return outcome
        return replace(outcome, changed=Facet.WEIGHTS)


def _with_setting(proposal: TableProposal, setting: str) -> Plan:
    """Return the plan of one setting; layers that lack it take the fewest bytes."""
    found = {}
    for part, rows in proposal.table.rows.items():
        places = proposal.table.open(part)[1:]
        fitting = [at for at in places if rows[at].setting == setting]
        found[part] = fitting[0] if fitting else proposal.table.least(part, "bytes")
    return proposal.plan(found)


def _inputs(model: Model) -> int:
    return sum(len(node.inputs) for _, node in model.nodes())


def _table(
    item: ProjectingPass,
    model: Model,
    layers: Sequence[tuple[Measured, SignedInputs | None]],
    ctx: Context | None,
) -> MoveTable:
    """Return the moves of every layer with what they cost, put right by trying them."""
    trials, moves = {}, {}
    for own, signs in layers:
        weight = own.layer.weight
        codes = item.codes(own.layer)
        assert not isinstance(codes, Reason)
        rows = []
        for code in codes:
            matrix = code.solve(own.problem, own.layer, quick=True)
            error = own.problem.cost(matrix)
            rows.append((code, error))
            if ctx is not None:
                trials[_key(weight, code)] = _trial(own, matrix, error)
        moves[weight.name] = own, rows, signs
    times = tried(model, trials, ctx) if ctx is not None else None
    table = MoveTable()
    for name, (own, rows, signs) in moves.items():
        weight, seen = own.layer.weight, own.view is not None
        readers = tuple(n.label for n in weight.nodes)
        table.add(Move(name, KEEP, "", 0.0, weight.array.nbytes, 0.0))
        for code, error in rows:
            factor = 1.0 if times is None else times.of(_key(weight, code))
            edit = Projection(readers, place(weight), code, own.problem.curvature, seen, signs)
            nbytes = code.nbytes(own.layer)
            table.add(Move(name, code.method, code.setting, error * factor, nbytes, 0.0, edit=edit))
    table.drop_slower("bytes", "it takes no fewer bytes")
    return table


def _key(weight: LayerWeight, code: Code) -> str:
    return f"{weight.name} {code.method} {code.setting}"


def _trial(own: Measured, matrix: np.ndarray, error: float) -> Trial:
    weight = own.layer.weight
    array = own.layer.array(matrix).astype(weight.array.dtype)
    shift = own.shift(matrix)
    changes = [
        Change(node.label, at, array, shift)
        for node in weight.nodes
        for at, value in enumerate(node.inputs)
        if value is weight.value
    ]
    return Trial(changes, error)
