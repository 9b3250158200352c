"""Initializers that are also graph inputs become plain constants."""

from __future__ import annotations

from ocompress.diagnostics import Severity
from ocompress.ir import Facet, Model
from ocompress.pipeline import Context, Outcome, Pass, option

_FIRST_OVERRIDABLE = 4
"""IR version from which an initializer listed as input is a default that callers may override."""


class FreezeInitializers(Pass):
    """Make initializers that are listed as graph inputs plain constants.

    Before: inputs x, w; initializer w
    After:  input x; initializer w
    Leaves alone: from IR version 4 on such an initializer is a default that callers may
    override (overridable-initializer), unless `freeze_inputs` is set.
    Numerics: exact.
    """

    name = "freeze-initializers"
    internal = True
    may_change = Facet.TOPOLOGY | Facet.OPSET
    reads = Facet.TOPOLOGY | Facet.OPSET

    freeze_inputs: bool = option(
        False,
        help="Turn inputs that have a default value into constants; callers can no longer "
        "set them.",
    )

    def run(self, model: Model, ctx: Context) -> Outcome:
        """Look at the inputs of the main graph."""
        old_file = model.shell.ir_version < _FIRST_OVERRIDABLE
        frozen = 0
        for value in list(model.graph.inputs):
            if value.data is None:
                continue
            if not (old_file or self.freeze_inputs):
                what = f"input {value.name!r} has a default value that callers may override; "
                how = "give canonicalize the option freeze_inputs=true to make it a constant"
                ctx.remark(Severity.DECLINED, "overridable-initializer", what + how)
                continue
            value.is_input = False
            value.data = value.data  # its declared type may have been vague
            frozen += 1
        if not frozen:
            return Outcome()
        model.graph.inputs = [v for v in model.graph.inputs if v.is_input]
        model.shell.ir_version = max(model.shell.ir_version, _FIRST_OVERRIDABLE)
        changed = Facet.TOPOLOGY | (Facet.OPSET if old_file else Facet.NONE)
        return Outcome(changed, {"initializers frozen": frozen})
