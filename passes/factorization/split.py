"""The dense layers at the end as branches that share nothing."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from fnmatch import fnmatchcase

import numpy as np

from ocompress.analysis.work import one_sample, work_of
from ocompress.diagnostics import Severity
from ocompress.errors import OptionError
from ocompress.ir import Facet, Model
from ocompress.lossy import KEEP, LossyPass, Move, MoveTable, Plan, TableProposal, costs_alone
from ocompress.lossy.applying import jobs_behind, twins_of
from ocompress.lossy.engine import Reason
from ocompress.lossy.fisher import alone
from ocompress.lossy.layer_weights import LayerWeight, weight_of
from ocompress.lossy.refit import Built, Job, refit
from ocompress.pipeline import Context, Outcome, option
from ocompress.pipeline.naming import check_patterns
from passes import order
from passes.factorization.trees import SplitEdit, Tail, dealt, find_tails, within
from passes.pruning.costs import Views

_TRIED = (2, 4, 8)
_DEFAULT = 2
_FAILS = Reason("no-longer-runs", "with its end split the model could not be run")
_LEAST = 32
"""Weights of a tail that is worth splitting, at least."""


class Split(LossyPass):
    """Split the dense layers at the end into branches, each for a group of outputs.

    Before: y = Gemm(Relu(Gemm(x, V)), W)
    After:  y = Gather(Concat(Gemm(Relu(Gemm(x[i], V1)), W1), Gemm(Relu(Gemm(x[j], V2)), W2)), k)

    A tree: what comes before is shared, and each branch has inputs, features and outputs of its
    own. Which ones go together is found in the weights of the model: all sides take turns, each
    going where the most of the layers before and behind stays within groups, by what weights cost
    at the model's outputs (Fisher information) or, without data, by their squares. What leads from
    group to group becomes zero, what is left is fitted to the outputs of the original's layers, and
    then written as branches. `groups` branches have one part in `groups` of the weights. Applied
    again with fewer `layers`, it splits the branches, too. Let `tune` follow.

    Leaves alone: ends that are not split because others save more (not-chosen) or a limit does not
    let them (too-lossy, too-slow, not-faster), or that no number of branches makes small enough
    (not-reached), ends with which split the model does not run (no-longer-runs), names that match
    `exclude` (excluded), ends with fewer inputs or outputs than groups or hardly any weights
    (too-small), models that do not end in Gemm layers of constant weights that nothing else reads
    (no-end).
    Numerics: lossy.
    Reference: Kim et al., SplitNet: Learning to Semantically Split Deep Networks for Parameter
    Reduction and Model Parallelization, 2017.
    """

    name = "split"
    after = order.TO_REPLACE
    noun = "splits"
    goals = ("groups", "max_macs")
    aims = ("max_macs",)
    may_change = Facet.TOPOLOGY | Facet.WEIGHTS | Facet.TYPES | Facet.NAMES

    groups: int = option(
        0, help="Number of branches, 2 or more; 0 leaves it to the budget, else 2.", at_least=0
    )
    max_macs: float = option(
        0.0,
        help="Largest share of multiply-accumulates to keep; 0 sets no limit.",
        at_least=0,
        at_most=1,
    )
    layers: int = option(2, help="Layers at the end that are split, at most.", at_least=1)
    exclude: tuple[str, ...] = option((), help="Globs of node names whose end to leave alone.")

    def __post_init__(self) -> None:
        """Check how far it is to go."""
        super().__post_init__()
        if self.groups == 1 or len(self.goals_given) > 1:
            msg = "split: give groups of 2 or more, or max_macs, not both"
            raise OptionError(msg)

    def preview(self, model: Model, ctx: Context) -> Outcome:
        """Count the ends that may be split."""
        tails = self._find(model, ctx)
        return Outcome(counts={"ends that may be split": len(tails)} if tails else {})

    def propose(self, model: Model, ctx: Context) -> TableProposal:
        """Deal out features to numbers of groups, and find out what that costs.

        Raises:
            OptionError: If a name pattern matches nothing.
        """
        tails = self._find(model, ctx)
        work = work_of(model, one_sample(model, ctx.analyses.data)) if tails else {}
        table = MoveTable()
        rest = sum(work.values())
        for tail in tails:
            whole = sum(m.size for m in tail.matrices())
            own = sum(work.get(id(node), 0.0) for node in tail.layers)
            rest -= own
            table.add(Move(tail.name, KEEP, "", 0.0, 4 * whole, own))
            for groups, size, move in self._moves(model, tail, ctx):
                setting = f"{groups} branches"
                row = (move[0], 4 * size, own * size / whole)
                table.add(Move(tail.name, "split", setting, *row, edit=move[1]))
        labels = {tail.name: list(tail.labels) for tail in tails}
        return TableProposal(labels, table, "macs", {"macs": max(rest, 0.0)})

    def asked(self, proposal: TableProposal) -> Plan:
        """Return the splits that the options ask for."""
        if self.max_macs:
            return self._within(proposal)
        wanted, places = f"{self.groups or _DEFAULT} branches", {}
        for part, moves in proposal.table.rows.items():
            found = [at for at, move in enumerate(moves) if move.setting == wanted]
            if not found:
                proposal.reasons[part] = _FAILS
            places[part] = found[0] if found else 0
        return proposal.plan(places)

    def _within(self, proposal: TableProposal) -> Plan:
        """Return the splits with the least error that leave so much work; none if none do."""
        plan, rows = proposal.within("macs", self.max_macs), proposal.table.rows
        rest = proposal.rest["macs"]
        whole = rest + sum(moves[0].macs for moves in rows.values())
        left = rest + sum(plan.get(part, moves[0]).macs for part, moves in rows.items())
        if left <= self.max_macs * whole * (1 + 1e-9):
            return plan
        why = f"the most branches leave {left / whole:.1%} of the work, more than max_macs allows"
        proposal.reasons.update(dict.fromkeys(rows, Reason("not-reached", why)))
        return {}

    def build(self, model: Model, plan: Plan, ctx: Context, *, fit: bool) -> Built:
        """Return the model with ends split, what is left of them fitted before."""
        clone = model.clone()
        twins = twins_of(clone, model)
        edits = {p: m.edit for p, m in plan.items() if isinstance(m.edit, SplitEdit)}
        for one in edits.values():
            one.mask(clone)
        if fit and ctx.has_data and edits:
            labels = {label for one in edits.values() for label in one.labels}
            jobs = [Job([n]) for n in clone.graph.nodes if n.label in labels]
            refit(model, clone, twins, [*jobs, *jobs_behind(clone, labels, labels)], ctx)
        done = frozenset(part for part, one in edits.items() if one.write(clone))
        return Built(clone, done=done)

    def _find(self, model: Model, ctx: Context) -> list[Tail]:
        check_patterns(model, self.exclude, self.name)
        tails = find_tails(model, self.layers)
        if not tails:
            why = "it does not end in Gemm layers with constant weights that nothing else reads"
            ctx.remark(Severity.DECLINED, "no-end", why)
        found = []
        for tail in tails:
            matrices = tail.matrices()
            narrowest = min(min(m.shape) for m in matrices)
            if any(fnmatchcase(label, p) for label in tail.labels for p in self.exclude):
                ctx.skip_each(tail.layers, "excluded", "a pattern of 'exclude' matches its end")
            elif narrowest < max(self.groups, _DEFAULT) or sum(m.size for m in matrices) < _LEAST:
                why = f"it has {narrowest} inputs or outputs, too few to be split"
                ctx.skip_each(tail.layers, "too-small", why)
            else:
                found.append(tail)
        return found

    def _moves(
        self, model: Model, tail: Tail, ctx: Context
    ) -> list[tuple[int, int, tuple[float, SplitEdit]]]:
        """Return numbers of groups, the weights that are left, what it costs, and what does it."""
        energies = _energies(model, tail, ctx)
        total = max(sum(float(e.sum()) for e in energies), 1e-300)
        narrowest = min(min(e.shape) for e in energies)
        wanted = (self.groups,) if self.groups else _TRIED
        edits, lost, sizes = {}, {}, {}
        for groups in (n for n in wanted if n <= narrowest):
            sides = dealt(energies, groups, ctx.seed)
            edits[str(groups)] = SplitEdit(tail.labels, tuple(sides), groups)
            lost[str(groups)] = 1 - within(energies, sides) / total
            sizes[str(groups)] = _left(sides, groups)
        costs = costs_alone(model, edits, ctx) if ctx.has_data else lost
        return [(int(n), sizes[n], (costs[n], edits[n])) for n in edits if n in costs]


def _left(sides: Sequence[np.ndarray], groups: int) -> int:
    """Return the weights within groups."""
    counts = [np.bincount(side, minlength=groups) for side in sides]
    return int(sum((a * b).sum() for a, b in itertools.pairwise(counts)))


def _energies(model: Model, tail: Tail, ctx: Context) -> list[np.ndarray]:
    """Return what each weight costs, [inputs, outputs] of each layer."""
    found = {
        node.label: np.square(matrix, dtype=np.float64)
        for node, matrix in zip(tail.layers, tail.matrices(), strict=True)
    }
    found = {name: e / max(float(e.sum()), 1e-300) for name, e in found.items()}
    if ctx.has_data:
        weights = []
        for node in tail.layers:
            known = weight_of(node)
            assert known is not None
            weights.append(LayerWeight(*known, [node]))
        for view in Views(model, weights, ctx, "the weights alone"):
            matrix = view.site.matrix(view.candidate.array.astype(np.float64))[0]
            power = np.einsum("gii->gi", view.hessian)[0]
            costs = np.square(matrix) * power[:, None] * alone(view.curvature)[0][None]
            found[view.candidate.name] = costs
    return [found[label] for label in tail.labels]
