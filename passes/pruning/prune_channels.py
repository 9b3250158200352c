"""Taking whole channels out, so that the same kernels have less to do."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from fnmatch import fnmatchcase
from glob import escape
from typing import Any

from ocompress.analysis.channels import ChannelGroups, Group
from ocompress.analysis.work import one_sample
from ocompress.ir import Facet, Model, Node
from ocompress.lossy.engine import Chosen, LossyPass, Plan, Reason
from ocompress.lossy.layer_weights import is_quantized
from ocompress.lossy.refit import Built
from ocompress.pipeline import Context, Outcome, option
from ocompress.pipeline.goals import Gauge
from ocompress.pipeline.naming import check_patterns
from passes.pruning import channel_rows
from passes.pruning.channel_account import Account
from passes.pruning.channel_builder import TakeChannels, build
from passes.pruning.channel_survey import CRITERIA, DATA_FREE, ChannelSurvey, survey
from passes.pruning.channel_work import Cuts, first_node

_PER_SHARE = 1000
"""Shares that limits found are written down in thousandths, rounded up."""


class PruneChannels(LossyPass):
    """Remove channels of layers, and refit the layers that read them.

    Before: y = Conv(Relu(Conv(x, W1, b1)), W2, b2), W1 of 64 outputs
    After:  y = Conv(Relu(Conv(x, W1', b1')), W2', b2'), W1' of 40 outputs

    The result is dense and smaller, so every runtime is faster. A residual Add, a Concat, a
    depthwise convolution, a Reshape or an attention ties channels: they go together or not at all.
    With data (no labels needed) channels go one by one, the cheapest first. A channel costs the
    error of the layers that read it after their other weights compensate, weighted by the Fisher
    information of the model's outputs; where channels end in a sum without weights, as queries
    against keys, it costs what setting them to zero there does to the outputs. `scope=global` takes
    the next channels from the group that saves most for its cost, `layer` takes the same share of
    every group. Multiply-accumulates are saved where `max_macs` or `ratio` say how far, else time,
    by the target's table of what operators take, in integers if a later pass makes them: kernels
    compute several blocks of channels at once, so the last of them may save much or little. A group
    keeps a multiple of what the kernels of the target prefer. Then least squares fits every later
    layer, first layer first, to the outputs of the original's layer, on what the layers before it
    now make, shortcuts included; rows count by what errors there cost the model's outputs. An
    output changes only if samples left out of the fit agree.
    Without data channels of small weights go.

    How far: as `max_macs`, `max_time` and `ratio` say, the first that is reached; else as far as a
    limit on the drop (`--max-drop`) allows, or no farther than a limit on the latency
    (`--max-latency` below 1) requires, by halving; else 0.3 of the channels. On a machine that
    measures, groups whose layers do not get faster stay whole, and a model that is not faster is
    dropped.

    Leaves alone: groups smaller than twice the multiple (too-few), names that match `exclude`
    (excluded), groups whose readers cannot be observed (not-measured),
    groups that no step pays for (not-chosen), all if no cut holds a limit (too-lossy, too-slow),
    cuts that are no faster (not-faster), and channels that cannot be followed, each with the
    node in the way: an input or output of the model (graph-input, graph-output), a
    normalization or Softmax over channels
    (normalized-axis, softmax-axis), reductions (reduced-axis), arithmetic that mixes axes
    (mixed-axis), a spatial axis that is a channel elsewhere (spatial-axis), slices, pads and
    picks (strided-slice, padded-axis, picked-channel, gathered-axis), indices of a pooling
    (pool-indices), reshapes (reshape, computed-shape, computed-axes, shape-read), shapes that are
    not known (unknown-shape, unknown-extent), what is left of a channel shuffle
    (shuffle-remainder), groups of one (single-channel), quantized layers (quantized), recurrent
    ones (recurrent), borders of loops (control-flow), operators that are not standard or not
    known (custom-domain, unknown-operator), computed weights (dynamic-weight), all else
    (not-followed).
    Numerics: lossy.
    Reference: Kurtic et al., ZipLM, 2023; He et al., Channel Pruning for Accelerating Very Deep
    Neural Networks, 2017; Luo et al., ThiNet, 2017; He et al., Filter Pruning via Geometric
    Median, 2019; Li et al., Pruning Filters for Efficient ConvNets, 2017; Fang et al., DepGraph,
    2023.
    """

    name = "prune-channels"
    noun = "cuts"
    overlaps = True
    minds_integers = True
    weights_of = ("Conv", "ConvTranspose", "Gemm", "MatMul")
    goals = ("ratio", "max_macs", "max_time")
    aims = goals
    may_change = Facet.TOPOLOGY | Facet.WEIGHTS | Facet.TYPES | Facet.NAMES

    ratio: float = option(
        0.0,
        help="Share of channels to remove; 0 leaves it to the budget.",
        at_least=0,
        at_most=1,
    )
    max_macs: float = option(
        0.0,
        help="Largest share of multiply-accumulates to keep; 0 sets no limit.",
        at_least=0,
        at_most=1,
    )
    max_time: float = option(
        0.0,
        help="Largest share to keep of the time that channels take, by the target's table, in "
        "integers if a later pass makes them; 0 sets no limit.",
        at_least=0,
        at_most=1,
    )
    scope: str = option(
        "global",
        help="Remove what saves most for its cost, or the same share of every group.",
        choices=("global", "layer"),
    )
    criterion: str = option(
        "auto",
        help="What goes first: small weights (l1, l2), filters close to all others (fpgm), small "
        "activations (activation), little variation according to a BatchNormalization's "
        "scale (deviation), least first-order effect on the model's outputs (taylor), least "
        "effect on the next layers (thinet), what an L1 penalty on channels drops first "
        "(lasso), or least effect after the next layers are refitted (obs); auto is obs "
        "with data and l2 without.",
        choices=CRITERIA,
    )
    refit: bool = option(True, help="With data, refit the layers after them.")
    multiple: int = option(
        0, help="Keep a multiple of this many channels; 0 asks the target.", at_least=0
    )
    exclude: tuple[str, ...] = option((), help="Globs of node names whose channels to keep.")

    def preview(self, model: Model, ctx: Context) -> Outcome:
        """Go by the weights, fit nothing and try nothing."""
        by_weights = self.criterion if self.criterion in DATA_FREE else "l2"
        return replace(self, criterion=by_weights, refit=False).run(model, ctx)

    def blind(self) -> PruneChannels | None:
        """Return the pass that goes by magnitude and fits nothing, unless a criterion is named."""
        return replace(self, criterion="l2", refit=False) if self.criterion == "auto" else None

    def propose(self, model: Model, ctx: Context) -> Cuts:
        """Find which channels may go in which order, and at what cost.

        Raises:
            OptionError: If a name pattern matches nothing.
            DataError: If the criterion needs data and there are none.
        """
        check_patterns(model, self.exclude, self.name)
        for _, node in model.nodes():
            if is_quantized(node):
                ctx.skip(
                    node, "quantized", "its weight is quantized; run this pass before quantizing"
                )
            elif _computed(node):
                ctx.skip(node, "dynamic-weight", "its weight is computed, or callers may set it")
        return self._survey(model, ctx)

    def asked(self, proposal: Cuts) -> Plan:
        """Return the plan that the options ask for."""
        return proposal.asked()

    def build(self, model: Model, plan: Plan, ctx: Context, *, fit: bool) -> Built:
        """Return the model without channels, the layers behind fitted."""
        edits = {p: m.edit for p, m in plan.items() if isinstance(m.edit, TakeChannels)}
        return build(model, edits, ctx if fit and self.refit and ctx.has_data else None)

    def gauges(self, model: Model, proposal: Cuts, chosen: Chosen, ctx: Context) -> Iterator[Gauge]:
        """Yield the share of the channels that went, of all that may go, and the work left."""
        if self.ratio:
            whole = sum(group.size for group in proposal.groups)
            share = sum(proposal.counts(chosen.plan)) / max(whole, 1)
            unit = "of the channels that may go went"
            yield Gauge("ratio", self.ratio, share, unit, at_most=False)
        if self.max_time:
            unit = "of the time that channels take by the target's table"
            yield Gauge("max_time", self.max_time, proposal.time_left(chosen.plan), unit)
        yield from super().gauges(model, proposal, chosen, ctx)

    def settled(self, proposal: Cuts, chosen: Chosen) -> dict[str, Any]:
        """Return how far limits went, and which groups they leave as no cut of these is faster."""
        if self.goals_given:
            return {}
        if chosen.share is not None:
            return {"max_time": chosen.share}
        slow = [p for p, reason in proposal.reasons.items() if reason.code == "not-faster"]
        kept = [escape(proposal.layers[p][0]) for p in slow if p not in chosen.plan]
        left = math.ceil(proposal.time_left(chosen.plan) * _PER_SHARE) / _PER_SHARE
        return {"max_time": left, "exclude": sorted({*self.exclude, *kept})}

    def finish(self, model: Model, proposal: Cuts, chosen: Chosen, ctx: Context) -> Outcome:
        """Say of each group what went or why it stays whole, and change the model."""
        counts, built = proposal.counts(chosen.plan), chosen.built
        for at, count in enumerate(counts):
            if count:
                what = f"{count} of {proposal.groups[at].size} channels were removed"
                ctx.applied(proposal.node(at), "channels-removed", what)
            else:
                reason = proposal.why_whole(at)
                ctx.skip(proposal.node(at), reason.code, reason.why)
        details = {}
        if not ctx.previewing:
            details = channel_rows.details(model, proposal, counts, built, ctx)
        if built is None:
            return Outcome(details=details)
        model.become(built.model)
        done = {"groups cut": sum(map(bool, counts)), "channels removed": sum(counts)}
        return Outcome(self.may_change, done, details)

    def groups_asked(self) -> ChannelGroups:
        """Return the question for the groups."""
        return ChannelGroups()

    def follows(self, group: Group) -> str | None:
        """Say why a group is none of this pass's, None if it is."""
        return None

    def liked(self, ctx: Context) -> int:
        """Return what the number of channels that are left should be a multiple of."""
        return ctx.target.channel_multiple

    def _survey(self, model: Model, ctx: Context) -> Cuts:
        found = ctx.analysis(self.groups_asked(), model)
        refused: list[tuple[Group, Reason]] = []
        places = []
        for at, group in enumerate(found):
            reason = self._refusal(group) if group.cuts else None
            if reason is not None:
                refused.append((group, reason))
            elif group.cuts:
                places.append(at)
        groups = [found[at] for at in places]
        criterion = self.criterion
        if criterion == "auto":
            criterion = "obs" if ctx.has_data else "l2"
        surveyed = survey(model, groups, criterion, ctx)
        known = [at for at in range(len(groups)) if self._is_known(at, surveyed)]
        for at, group in enumerate(groups):
            if at not in known:
                why = surveyed.unknown.get(at, "no data reached what reads them")
                why = f"the cost of its channels cannot be measured: {why}"
                refused.append((group, Reason("not-measured", why)))
        places = [places[at] for at in known]
        orders = [surveyed.orders[at] for at in known]
        groups = [groups[at] for at in known]
        account = Account(model, groups, one_sample(model, ctx.analyses.data), ctx.target)
        for group, reason in refused:
            ctx.skip(first_node(group), reason.code, reason.why)
        multiple = self.multiple or self.liked(ctx)
        return Cuts(self, multiple, places, groups, orders, account, criterion, refused)

    def _is_known(self, at: int, surveyed: ChannelSurvey) -> bool:
        """Say whether a group's costs can be compared with the others', if they must be."""
        return self.scope == "layer" or not surveyed.measured or at in surveyed.measured

    def _refusal(self, group: Group) -> Reason | None:
        """Say why a group may lose no channels, None if it may."""
        makers = [cut.node for cut in group.cuts if cut.role != "consumer"]
        if group.refusal is not None:
            at = group.refusal.node
            where = f" at {at.label!r}" if at is not None and at is not first_node(group) else ""
            return Reason(group.refusal.code, f"{group.refusal.why}{where}")
        why = self.follows(group)
        if why is not None:
            return Reason("other-channels", why)
        if any(fnmatchcase(n.label, p) for n in makers for p in self.exclude):
            return Reason("excluded", "a pattern of 'exclude' matches a layer of its group")
        if group.size < 2:
            return Reason("too-few", "it has a single channel")
        return None


def _computed(node: Node) -> bool:
    """Whether a layer's weight is no constant; a product of two activations is no layer."""
    if node.is_op("Conv", "ConvTranspose"):
        weight = node.input(1)
        return weight is not None and weight.constant is None
    given = [v for v in node.inputs[:2] if v is not None and v.data is not None]
    return node.is_op("Gemm", "MatMul") and any(v.constant is None for v in given)
