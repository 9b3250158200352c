"""Upgrade of the standard operator set."""

from __future__ import annotations

from ocompress.ir import Facet, Model, Node, packed, schemas
from ocompress.pipeline import Context, Numerics, Outcome, Pass, option
from passes.canonical.adapters import ADAPTERS, CannotAdapt
from passes.canonical.adapters.step import Step, nothing


class UpgradeOpset(Pass):
    """Bring a model to an opset that the other passes can build on, one version at a time.

    Before: opset 9: y = Clip(x, min=0, max=6)
    After:  opset 17: y = Clip(x, 0, 6)
    Leaves alone: models at that opset or a newer one. A node that cannot be brought over a
    change (no-adapter) holds the whole model at the opset before that change.
    Numerics: rounding only; resizing may go through another kernel.
    """

    name = "upgrade-opset"
    numerics = Numerics.ROUNDING
    internal = True
    may_change = Facet.ALL & ~Facet.METADATA

    opset: int = option(
        17,
        help="Lowest opset wanted; per-channel quantization needs 13, 4-bit types 21.",
        at_least=7,
        at_most=21,
    )

    def run(self, model: Model, ctx: Context) -> Outcome:
        """Go up version by version until the wanted one or a node that cannot follow."""
        before = model.opset
        if not before:
            return Outcome()
        climbing = model
        if before < self.opset and _has_packed(model):
            climbing = packed.unpacked(model)  # what files compute is spelled in their opset
        for version in range(before + 1, self.opset + 1):
            if not _climb(climbing, version, ctx):
                break
            climbing.opsets[""] = version
        if climbing.opset == before:
            return Outcome()
        if climbing is not model:
            model.become(climbing)
        lowest = schemas.lowest_ir_version(model.opset)
        model.shell.ir_version = max(model.shell.ir_version, lowest)
        return Outcome(
            Facet.OPSET | Facet.TOPOLOGY | Facet.WEIGHTS | Facet.NAMES | Facet.TYPES,
            {"opsets climbed": model.opset - before},
        )


def _has_packed(model: Model) -> bool:
    constants = (v for g in model.graph.graphs() for v in g.initializers.values())
    return any(value.packed is not None for value in constants)


def _climb(model: Model, version: int, ctx: Context) -> bool:
    steps: list[Step] = []
    for _, node in model.nodes():
        if node.domain or not schemas.is_redefined(node.op_type, version):
            continue
        try:
            steps.append(plan(node, version))
        except CannotAdapt as refusal:
            why = f"{node.op_type} keeps the model at opset {version - 1}: {refusal}"
            ctx.skip(node, "no-adapter", why)
            return False
    for step in steps:
        step()
    return True


def plan(node: Node, version: int) -> Step:
    """Return the step that brings a node over the change of that version.

    Raises:
        CannotAdapt: If there is none.
    """
    adapter = ADAPTERS.get((node.op_type, version))
    if adapter is not None:
        return adapter(node)
    if "consumed_inputs" in node.attributes:  # a hint of the first opsets, without meaning
        return lambda: node.set_attr("consumed_inputs", None)
    why = schemas.misfit(node, version)
    if why:
        raise CannotAdapt(why)
    return nothing
