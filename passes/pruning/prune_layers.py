"""Taking whole residual branches out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from typing import Any

import numpy as np

from ocompress.analysis.linear_rows import Site, site_of
from ocompress.analysis.sensitivity import Edit, Sensitivity, sensitivity
from ocompress.diagnostics import Severity
from ocompress.ir import Facet, Model, Node
from ocompress.lossy.ablation import cost_of, cost_together, samples_for
from ocompress.lossy.layer_times import measured
from ocompress.lossy.refit import Job, refit
from ocompress.pipeline import Context, Numerics, Outcome, Pass, option
from ocompress.pipeline.naming import check_patterns
from passes.pruning.branches import (
    Affine,
    Branch,
    affine_labels,
    find_branches,
    fit_affine,
    replace_branch,
)


@dataclass(frozen=True)
class _Found:
    branch: Branch
    affine: Affine
    seen: Sensitivity

    @property
    def cost(self) -> float:
        """What the outputs lose without the branch, see `cost_of`."""
        return cost_of(self.seen)


class PruneLayers(Pass):
    """Take out the residual branches that the model's outputs miss least.

    Before: y = Add(x, f(x))
    After:  y = Add(Mul(x, a), b), a factor and an offset per channel

    Each branch is tried alone, with the factor and offset that come nearest to what the Add made,
    and what that does to the model's outputs is measured on data; no labels are needed. Then
    branches go, those first that cost least, and the layers behind are fitted by least squares
    to what the original's make. How many go: `count`, or else as many as a limit on the drop
    (`--max-drop`) lets, by trying one more at a time; without any, one. A model that is not
    measured faster is given up.

    Leaves alone: branches that others are cheaper than (not-chosen), names that match `exclude`
    (excluded), branches of unknown channels (unknown-channels), all if the model is not faster
    (not-faster) or no branch may go (too-lossy).
    Numerics: lossy.
    Reference: He et al., Deep Residual Learning, 2015; Chen and Zhao, Shallowing Deep Networks,
    2018.
    """

    name = "prune-layers"
    numerics = Numerics.LOSSY
    goals = ("count",)
    may_change = Facet.TOPOLOGY | Facet.WEIGHTS | Facet.TYPES | Facet.NAMES
    needs_data = True

    count: int = option(0, help="Branches that go; 0 leaves it to the budget.", at_least=0)
    exclude: tuple[str, ...] = option((), help="Globs of node names whose branch stays.")

    def run(self, model: Model, ctx: Context) -> Outcome:
        """Take branches out.

        Raises:
            OptionError: If a name pattern matches nothing.
            DataError: If there are no data.
        """
        check_patterns(model, self.exclude, self.name)
        branches = find_branches(model)
        if not branches:
            return Outcome()
        wanted = [b for b in branches if not self._is_excluded(b, ctx)]
        found = self._try(model, wanted, ctx) if wanted else []
        taken, built = self._choose(model, found, ctx)
        for one in found:
            if one not in taken and built is not None:
                why = f"without it the outputs would lose {one.cost:.3g}"
                ctx.skip(one.branch.add, "not-chosen", why)
        details = _details(model, built, branches, found, taken, ctx)
        if built is None:
            return Outcome(details=details)
        for one in taken:
            what = f"its branch of {len(one.branch.nodes)} nodes went for a factor and an offset"
            ctx.applied(one.branch.add, "branch-removed", what)
        model.become(built)
        return Outcome(self.may_change, {"branches removed": len(taken)}, details)

    def preview(self, model: Model, ctx: Context) -> Outcome:
        """Count the branches; which of them goes is for the data to say."""
        check_patterns(model, self.exclude, self.name)
        wanted = [b for b in find_branches(model) if not self._is_excluded(b, ctx)]
        return Outcome(counts={"branches that may go": len(wanted)} if wanted else {})

    def _is_excluded(self, branch: Branch, ctx: Context) -> bool:
        labels = [n.label for n in (branch.add, *branch.nodes)]
        if not any(fnmatchcase(name, p) for name in labels for p in self.exclude):
            return False
        ctx.skip(branch.add, "excluded", "a pattern of 'exclude' matches a layer of its branch")
        return True

    def _try(self, model: Model, branches: list[Branch], ctx: Context) -> list[_Found]:
        """Return what is known of each branch, the cheapest first."""
        fits = fit_affine(model, branches, ctx.data)
        variants: dict[str, Edit] = {}
        for at, branch in enumerate(branches):
            if id(branch.add) in fits:
                variants[str(at)] = partial(_without, branch.add.label, fits[id(branch.add)])
            else:
                why = "how many channels its shortcut has is not known"
                ctx.skip(branch.add, "unknown-channels", why)
        samples = samples_for(model, len(variants), ctx)
        stage = f"{self.name}: trying branches one at a time"
        seen = sensitivity(model, variants, ctx.data, partial(ctx.progress, stage), samples=samples)
        found = [
            _Found(branch, fits[id(branch.add)], seen[str(at)])
            for at, branch in enumerate(branches)
            if str(at) in seen
        ]
        return sorted(found, key=lambda f: f.cost)

    def _choose(
        self, model: Model, found: Sequence[_Found], ctx: Context
    ) -> tuple[list[_Found], Model | None]:
        limited = any(g.kind == "max-drop" for g in ctx.guards) and not self.count
        most = len(found) if limited else min(self.count or 1, len(found))
        taken: list[_Found] = []
        best: Model | None = None
        for one in found[:most] if limited else found[most - 1 : most]:
            tried = [*taken, one] if limited else list(found[:most])
            built = _build(model, tried, ctx)
            verdict = ctx.judged("max-drop", built, model) if limited else None
            if verdict is not None and not verdict.held:
                break
            taken, best = tried, built
        if best is None:
            if found:
                _say(found, "too-lossy", "no branch may go within the limit on the drop", ctx)
            return [], None
        verdict = ctx.judged("latency", best, model)
        if verdict is not None and verdict.figures.get("ratio", 0.0) >= 1:
            why = "without branches the model is not measured faster here"
            ctx.remark(Severity.DECLINED, "not-faster", why)
            return [], None
        return taken, best


def _build(model: Model, taken: Sequence[_Found], ctx: Context) -> Model:
    """Return the model without some branches, the layers behind fitted."""
    clone = model.clone()
    pairs = zip(clone.graph.nodes, model.graph.nodes, strict=True)
    twins = {id(node): twin for node, twin in pairs}
    mine = {id(twin): node for node, twin in zip(clone.graph.nodes, model.graph.nodes, strict=True)}
    first = min(list(mine).index(id(f.branch.add)) for f in taken)
    behind = [n for at, n in enumerate(clone.graph.nodes) if at > first]
    for one in taken:
        add = mine[id(one.branch.add)]  # it may have gone with a branch around it
        branch = next((b for b in find_branches(clone) if b.add is add), None)
        if branch is not None:
            replace_branch(branch, one.affine, _like(branch))
    clone.sort()
    jobs: dict[int, list[Node]] = {}
    for node in behind:
        site = site_of(node) if node.graph is clone.graph else None
        if isinstance(site, Site):
            jobs.setdefault(id(node.inputs[site.layer.weight_at]), []).append(node)
    refit(model, clone, twins, [Job(nodes, masked=False) for nodes in jobs.values()], ctx)
    return clone


def _without(label: str, fit: Affine, model: Model) -> bool:
    branch = next((b for b in find_branches(model) if b.add.label == label), None)
    return branch is not None and replace_branch(branch, fit, _like(branch))


def _like(branch: Branch) -> np.dtype[np.generic]:
    dtype = branch.shortcut.dtype
    return np.dtype(np.float32) if dtype is None else dtype.numpy


def _say(found: Sequence[_Found], code: str, why: str, ctx: Context) -> None:
    for one in found:
        ctx.skip(one.branch.add, code, why)


def _details(
    model: Model,
    built: Model | None,
    branches: Sequence[Branch],
    found: Sequence[_Found],
    taken: Sequence[_Found],
    ctx: Context,
) -> dict[str, Any]:
    """Return what the report holds: a row per branch, in order."""
    times = measured(model, built, ctx, _left(taken)) if built is not None else None
    known = {id(f.branch.add): f for f in found}
    gone = {id(f.branch.add) for f in taken} if built is not None else set()
    said = {r.node: r for r in ctx.left_alone}
    every = said.get("")  # what was said of the model holds for all
    rows = []
    for branch in branches:
        one, label = known.get(id(branch.add)), branch.add.label
        left = id(branch.add) not in gone
        size = len(branch.nodes)
        row: dict[str, Any] = {"name": label, "nodes": size, "kept": size if left else 0}
        row["removed"] = size - row["kept"]
        if one is not None:
            row |= {"predicted_error": one.cost, "affine_error": one.affine.error}
        if times is not None:
            row |= times.of({label, *(n.label for n in branch.nodes)}, _then(branch, left=left))
        reason = said.get(label, every) if left else None
        if reason is not None:
            row |= {"code": reason.code, "why": reason.message}
        rows.append(row)
    details: dict[str, Any] = {"branches": rows}
    reached = cost_together(model, built, ctx) if built is not None else None
    if reached is not None:
        details["error"] = {"predicted": sum(f.cost for f in taken), "reached": reached}
    return details


def _left(taken: Sequence[_Found]) -> dict[str, float]:
    """Return the part of the work that is left of each layer of the branches that go."""
    return {n.label: 0.0 for one in taken for n in one.branch.nodes}


def _then(branch: Branch, *, left: bool) -> set[str]:
    """Return the labels of what is there in place of a branch; none if it is as it was."""
    return set() if left else set(affine_labels(branch))
