"""Passes that exist for the tests of the manager only; they are used unregistered."""

from __future__ import annotations

import numpy as np

from ocompress.ir import Facet, Model, edit
from ocompress.pipeline import Context, Numerics, Outcome, Pass, option


class Scale(Pass):
    """Multiply every float weight, keeping whatever the guards say of the result."""

    name = "scale"
    numerics = Numerics.LOSSY
    may_change = Facet.WEIGHTS
    by: float = option(2.0, help="Factor.", at_least=0.0, at_most=100.0)
    only: tuple[str, ...] = option((), help="Names of weights.")
    table: dict[str, float] = option({}, help="Factor per weight.")
    mode: str = option("all", help="Which.", choices=("all", "first"))
    limit: int | None = option(None, help="Most weights.")
    loud: bool = option(False, help="Say so.")

    def run(self, model: Model, ctx: Context) -> Outcome:
        weights = list(model.graph.initializers.values())
        for value in weights:
            if value.data is not None and value.data.dtype == np.float32:
                edit.set_weight(value, value.data * np.float32(self.by))
        if self.loud:
            ctx.skip(model.graph.nodes[0], "loud", "because it was told to")
        return Outcome(Facet.WEIGHTS, {"scaled": len(weights)})


class Liar(Pass):
    """Claim to have changed the topology, which it does not declare."""

    name = "liar"
    may_change = Facet.WEIGHTS

    def run(self, model: Model, ctx: Context) -> Outcome:
        return Outcome(Facet.TOPOLOGY)


class Stranger(Pass):
    """Put an operator of another domain behind the first output, declared or not."""

    name = "stranger"
    declared: bool = option(False, help="Whether to say so.")

    def domains(self) -> frozenset[str]:
        return frozenset({"com.microsoft"}) if self.declared else frozenset()

    def run(self, model: Model, ctx: Context) -> Outcome:
        old = model.graph.outputs[0]
        made = model.graph.add_op("Gelu", [old], name="strange", domain="com.microsoft").output
        made.set_type(old.dtype, old.shape)
        model.graph.set_outputs([made])
        model.opsets.setdefault("com.microsoft", 1)
        return Outcome(Facet.ALL)


class Broken(Pass):
    """Raise what no pass should."""

    name = "broken"

    def run(self, model: Model, ctx: Context) -> Outcome:
        raise ZeroDivisionError("oh")


class Late(Pass):
    """Stand behind Scale."""

    name = "late"
    after = ("scale",)

    def run(self, model: Model, ctx: Context) -> Outcome:
        return Outcome()
