"""Inlining of model-local functions."""

from __future__ import annotations

from ocompress.diagnostics import Severity
from ocompress.errors import UnsupportedModelError
from ocompress.ir import Facet, Model, onnx_api
from ocompress.pipeline import Context, Outcome, Pass
from ocompress.runtime import has_operator


class InlineFunctions(Pass):
    """Replace calls of model-local functions by their bodies.

    Before: y = my.Gelu(x), with a function my.Gelu in the model
    After:  the nodes of my.Gelu between x and y; no functions left
    Leaves alone: functions of another opset that ONNX cannot convert (not-inlined). Functions
    named like an operator of the runtime are dropped: it runs its own operator instead.
    Numerics: exact.
    """

    name = "inline-functions"
    internal = True
    may_change = Facet.ALL
    reads = Facet.TOPOLOGY

    def run(self, model: Model, ctx: Context) -> Outcome:
        """Inline every function, in bodies too."""
        before = len(model.functions)
        if not before:
            return Outcome()
        hidden = _drop_hidden(model)
        if not model.functions:
            return Outcome(Facet.TOPOLOGY, {"functions dropped": hidden})
        outcome = self._inline(model, ctx)
        if not hidden:
            return outcome
        counts = {**outcome.counts, "functions dropped": hidden}
        return Outcome(outcome.changed | Facet.TOPOLOGY, counts)

    def _inline(self, model: Model, ctx: Context) -> Outcome:
        before = len(model.functions)
        try:
            onnx_api.inline_functions(model)
        except UnsupportedModelError as error:
            ctx.remark(Severity.DECLINED, "not-inlined", str(error))
            return Outcome()
        inlined = before - len(model.functions)
        if model.functions:
            names = ", ".join(sorted(_label(f.domain, f.name) for f in model.functions))
            ctx.remark(Severity.DECLINED, "not-inlined", f"functions that stay calls: {names}")
        if not inlined:
            return Outcome()
        return Outcome(Facet.ALL & ~Facet.OPSET, {"functions inlined": inlined})


def _drop_hidden(model: Model) -> int:
    """Drop functions that are never called, as the runtime has an operator of that name."""
    before = len(model.functions)
    model.functions = [f for f in model.functions if not _is_hidden(f.name, f.domain, model)]
    return before - len(model.functions)


def _is_hidden(name: str, domain: str, model: Model) -> bool:
    domain = "" if domain == "ai.onnx" else domain
    return has_operator(name, domain, model.opsets.get(domain, 1))


def _label(domain: str, name: str) -> str:
    return f"{domain}.{name}" if domain else name
