"""Inlining of model-local functions."""

from __future__ import annotations

from ocompress.diagnostics import Severity
from ocompress.errors import UnsupportedModelError
from ocompress.ir import Facet, Model, standard
from ocompress.pipeline import Context, Outcome, Pass


class InlineFunctions(Pass):
    """Replace calls of model-local functions by their bodies.

    Before: y = my.Gelu(x), with a function my.Gelu in the model
    After:  the nodes of my.Gelu between x and y; no functions left
    Leaves alone: functions of another opset that ONNX cannot convert (not-inlined).
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
        try:
            standard.inline_functions(model)
        except UnsupportedModelError as error:
            ctx.remark(Severity.DECLINED, "not-inlined", str(error))
            return Outcome()
        inlined = before - len(model.functions)
        if model.functions:
            names = ", ".join(sorted(f"{f.domain}.{f.name}" for f in model.functions))
            ctx.remark(Severity.DECLINED, "not-inlined", f"functions that stay calls: {names}")
        if not inlined:
            return Outcome()
        return Outcome(Facet.ALL & ~Facet.OPSET, {"functions inlined": inlined})
