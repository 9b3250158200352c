"""A lossy pass of a third party: weights of few different values, for files that are packed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ocompress.ir import Model, edit, query
from ocompress.lossy import KEEP, LossyPass, Move, MoveTable, Plan, TableProposal, costs_alone
from ocompress.pipeline import Context, option

LEVELS = (4, 8, 16)


@dataclass(frozen=True)
class Levels:
    """Puts the weight of a layer on evenly spaced levels."""

    layer: str
    count: int

    def apply(self, model: Model) -> bool:
        node = next(n for n in model.graph.nodes if n.label == self.layer)
        value = edit.own_weight(node, 1)
        weight = np.asarray(value.data)
        step = 2 * np.abs(weight).max() / (self.count - 1) or 1.0
        edit.set_weight(value, (np.round(weight / step) * step).astype(weight.dtype))
        return True


class FewLevels(LossyPass):
    """Put weights of matrix products on few levels.

    Before: y = MatMul(x, W)
    After:  y = MatMul(x, W'), W' of `levels` different numbers

    Leaves alone: weights that are computed.
    Numerics: lossy.
    """

    name = "few-levels"
    noun = "roundings"
    goals = ("max_error",)
    saves_time = False
    needs_data = True

    max_error: float = option(0.0, help="Error that may be spent.", at_least=0)

    def propose(self, model: Model, ctx: Context) -> TableProposal:
        """Try every layer on every number of levels."""
        sizes = {
            node.label: array.size
            for node in model.graph.nodes
            if node.is_op("MatMul", "Gemm", "Conv")
            if (array := query.constant(node, 1)) is not None
        }
        edits = {f"{name} {n}": Levels(name, n) for name in sizes for n in LEVELS}
        costs = costs_alone(model, edits, ctx)
        table = MoveTable()
        for name, size in sizes.items():
            table.add(Move(name, KEEP, "", 0.0, 4 * size, 0.0))
            for n in LEVELS:
                key, bits = f"{name} {n}", int(np.log2(n))
                if key in costs:
                    row = (costs[key], size * bits // 8, 0.0)
                    table.add(Move(name, "levels", f"{n} levels", *row, edit=edits[key]))
        return TableProposal({name: [name] for name in sizes}, table, "bytes")

    def asked(self, proposal: TableProposal) -> Plan:
        """Spend the error that is asked for."""
        return proposal.plan(proposal.table.cheapest("bytes", self.max_error or 0.01))
