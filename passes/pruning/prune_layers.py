"""Taking whole residual branches out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any

import numpy as np

from ocompress.analysis.work import one_sample, work_of
from ocompress.ir import Facet, Model
from ocompress.lossy import applying
from ocompress.lossy.ablation import costs_alone
from ocompress.lossy.applying import jobs_behind, twins_of
from ocompress.lossy.engine import Chosen, LossyPass, Plan, Proposal, Reason
from ocompress.lossy.layer_times import measured
from ocompress.lossy.refit import Built, refit
from ocompress.pipeline import Context, Outcome, option
from ocompress.pipeline.goals import Gauge
from ocompress.pipeline.naming import check_patterns
from ocompress.planning import Move
from passes.pruning.branches import (
    Branch,
    BranchAffine,
    affine_labels,
    branch_at,
    channel_axis,
    find_branches,
    fit_affine,
    replace_branch,
)


@dataclass(frozen=True)
class ToAffine:
    """Puts a factor and an offset in place of a branch.

    Attributes:
        label: Label of the Add that the branch ends in.
        affine: The factor and the offset.
    """

    label: str
    affine: BranchAffine

    def apply(self, model: Model) -> bool:
        """Replace the branch; one that went with a branch around it is gone already."""
        add = model.labelled(self.label)
        branch = None if add is None else branch_at(add)
        if branch is None:
            return False
        dtype = branch.shortcut.dtype
        like = np.dtype(np.float32) if dtype is None else dtype.numpy
        return replace_branch(branch, self.affine, like)


class Branches(Proposal):
    """Branches that may go, the cheapest first."""

    least = 0.0

    def __init__(self, branches: Sequence[Branch], moves: Sequence[Move]) -> None:
        """Name the parts.

        Args:
            branches: All branches of the model, in order.
            moves: What is known of those that may go, the cheapest first.
        """
        known = {b.add.label: b for b in branches}
        super().__init__({m.part: [m.part, *(n.label for n in known[m.part].nodes)] for m in moves})
        self.branches, self.moves = branches, moves
        self.finest = 0.5 / max(len(moves), 1)

    def leaving(self, share: float) -> Plan:
        """Return as many moves as leave a share of the branches, the cheapest."""
        return self.first(round((1 - share) * len(self.moves)))

    def first(self, count: int) -> Plan:
        """Return some moves, the cheapest."""
        return {m.part: m for m in self.moves[:count]}


_UNKNOWN = Reason("unknown-channels", "how many channels its shortcut has is not known")
_UNSEEN = Reason("unseen", "what it adds up is not finite")


class PruneLayers(LossyPass):
    """Remove the least important residual branches.

    Before: y = Add(x, f(x))
    After:  y = Add(Mul(x, a), b), a factor and an offset per channel

    Each branch is replaced alone, by the factor and offset that come nearest to the result of the
    Add, and the error at the model's outputs is measured on data; no labels are needed. Then the
    cheapest branches go, and least squares fits the later layers to the outputs of the original's.
    How many: `count`; else as many as a limit on the drop (`--max-drop`) allows, adding one at a
    time; else one. A model that does not measure faster is dropped.

    Leaves alone: branches that cost more than others (not-chosen), names that match `exclude`
    (excluded), branches of unknown channels (unknown-channels) or whose values are not finite
    (unseen), all if the model is not faster
    (not-faster) or no branch may go (too-lossy).
    Numerics: lossy.
    Reference: He et al., Deep Residual Learning, 2015; Chen and Zhao, Shallowing Deep Networks,
    2018.
    """

    name = "prune-layers"
    noun = "branches"
    goals = ("count",)
    aims = goals
    may_change = Facet.TOPOLOGY | Facet.WEIGHTS | Facet.TYPES | Facet.NAMES
    needs_data = True

    count: int = option(
        0, help="Number of branches to remove; 0 leaves it to the budget.", at_least=0
    )
    exclude: tuple[str, ...] = option((), help="Globs of node names whose branch to keep.")

    def propose(self, model: Model, ctx: Context) -> Branches:
        """Try each branch alone.

        Raises:
            OptionError: If a name pattern matches nothing.
            DataError: If there are no data.
        """
        check_patterns(model, self.exclude, self.name)
        branches = find_branches(model)
        wanted = [b for b in branches if not self._is_excluded(b, ctx)]
        return Branches(branches, self._try(model, wanted, ctx) if wanted else [])

    def asked(self, proposal: Branches) -> Plan:
        """Return as many branches as the options ask for."""
        return proposal.first(self.count or 1)

    def build(self, model: Model, plan: Plan, ctx: Context, *, fit: bool) -> Built:
        """Return the model without some branches, the layers behind fitted."""
        clone = model.clone()
        twins = twins_of(clone, model)
        behind = jobs_behind(clone, plan, masked=False)
        for move in plan.values():
            if move.edit is not None:
                move.edit.apply(clone)
        clone.sort()
        if fit:
            left = {id(n) for n in clone.graph.nodes}
            jobs = [replace(j, nodes=[n for n in j.nodes if id(n) in left]) for j in behind]
            refit(model, clone, twins, [j for j in jobs if j.nodes], ctx)
        return Built(clone, done=frozenset(plan))

    def gauges(
        self, model: Model, proposal: Branches, chosen: Chosen, ctx: Context
    ) -> Iterator[Gauge]:
        """Yield the number of branches that went."""
        if self.count:
            unit = "branches were removed"
            yield Gauge("count", self.count, len(chosen.plan), unit, at_most=False)

    def finish(self, model: Model, proposal: Branches, chosen: Chosen, ctx: Context) -> Outcome:
        """Say of each branch whether it went, and change the model."""
        if not proposal.branches:
            return Outcome()
        built = chosen.built
        nodes = {b.add.label: b for b in proposal.branches}
        for move in proposal.moves:
            branch, reason = nodes[move.part], proposal.reasons.get(move.part)
            if built is not None and move.part in chosen.plan:
                what = f"a factor and an offset replace its branch of {len(branch.nodes)} nodes"
                ctx.applied(branch.add, "branch-removed", what)
            elif reason is not None:
                ctx.skip(branch.add, reason.code, reason.why)
            else:
                why = f"removing it would cost {move.error:.3g}"
                ctx.skip(branch.add, "not-chosen", why)
        details = _details(model, proposal, chosen, ctx)
        if built is None:
            return Outcome(details=details)
        model.become(built.model)
        return Outcome(self.may_change, {"branches removed": len(chosen.plan)}, details)

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

    def _try(self, model: Model, branches: list[Branch], ctx: Context) -> list[Move]:
        """Return what is known of each branch, the cheapest first."""
        fits = fit_affine(model, branches, ctx.data)
        edits = {
            b.add.label: ToAffine(b.add.label, fits[id(b.add)])
            for b in branches
            if id(b.add) in fits
        }
        for branch in branches:
            if id(branch.add) not in fits:
                reason = _UNSEEN if channel_axis(branch.shortcut) is not None else _UNKNOWN
                ctx.skip(branch.add, reason.code, reason.why)
        missed = {label: move.affine.error for label, move in edits.items()}
        costs = costs_alone(model, edits, ctx, missed)
        work = work_of(model, one_sample(model, ctx.analyses.data))
        total = sum(work.values())
        moves = []
        for branch in branches:
            label = branch.add.label
            if label in costs:
                left = total - sum(work.get(id(n), 0.0) for n in branch.nodes)
                what = f"a branch of {len(branch.nodes)} nodes removed"
                moves.append(Move(label, "affine", what, costs[label], 0, left, edit=edits[label]))
        return sorted(moves, key=lambda m: m.error)


def _details(model: Model, proposal: Branches, chosen: Chosen, ctx: Context) -> dict[str, Any]:
    """Return what the report holds: a row per branch, in order."""
    built, gone = chosen.built, chosen.plan
    done = {n: 0.0 for label in gone for n in proposal.layers[label][1:]}  # no work is left
    times = measured(model, built.model, ctx, done) if built is not None else None
    known = {m.part: m for m in proposal.moves}
    said = {r.node: r for r in ctx.left_alone}
    rows = []
    for branch in proposal.branches:
        label, size = branch.add.label, len(branch.nodes)
        row: dict[str, Any] = {"name": label, "nodes": size, "kept": 0 if label in gone else size}
        row["removed"] = size - row["kept"]
        move = known.get(label)
        if move is not None and isinstance(move.edit, ToAffine):
            row |= {"predicted_error": move.error, "affine_error": move.edit.affine.error}
        if times is not None:
            then = set(affine_labels(branch)) if label in gone else set()
            row |= times.of({label, *(n.label for n in branch.nodes)}, then)
        if label in said and label not in gone:
            row |= {"code": said[label].code, "why": said[label].message}
        rows.append(row)
    details: dict[str, Any] = {"branches": rows}
    if built is not None:
        predicted = sum(m.error for m in gone.values())
        details |= applying.together(model, built, predicted, ctx)
    return details
