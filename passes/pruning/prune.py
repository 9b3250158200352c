"""Pruning of single weights and small groups of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from fnmatch import fnmatchcase
from functools import partial

import numpy as np

from ocompress.errors import OptionError
from ocompress.ir import Facet, Model
from ocompress.lossy.engine import Chosen, LossyPass, Plan, Reason
from ocompress.lossy.layer_weights import OP_TYPES, LayerWeight, Rules, collect, weight_of
from ocompress.lossy.refit import Built
from ocompress.pipeline import Context, Limit, Outcome, option
from ocompress.pipeline.goals import Gauge
from ocompress.pipeline.naming import check_known, check_names, check_patterns
from passes import order
from passes.pruning import costs, magnitude, patterns, prune_rows
from passes.pruning.corrected_costs import corrected
from passes.pruning.costs import CRITERIA, Costed, Question
from passes.pruning.scores import Scores
from passes.pruning.zeroing import DEEPEST, HALF, Zeros, build

_SPARSE = Reason("already-sparse", "it already has as many zeros as requested")


class Prune(LossyPass):
    """Set weights to zero, least important weights first.

    Before: y = Conv(x, W)
    After:  y = Conv(x, W'), W' = W with the share `sparsity` of its elements zero

    The file gets smaller only where zeros are stored compactly; dense kernels get no faster. Zeros
    that are already there count. With calibration data (no labels needed) weights go in steps, by
    optimal brain surgeon: a weight costs its square times the variance of its input given the other
    inputs, and after every step the remaining weights are refitted to compensate. The Fisher
    information of the model's own outputs, from gradients that need no labels, prices the error of
    a layer in pairs of its outputs. So weights of one output compensate for what another lost, as
    far as the model's outputs react to both alike (layers with more than 4,608 outputs: each output
    alone). `scope=global` applies one threshold to the costs of all layers, `layer` gives every
    layer the same share. Then least squares fits the remaining weights and the biases, first layer
    first, to the outputs of the original's layer, on what the pruned layers before it now make. A
    fit is kept only if samples left out of it agree. Without data the smallest magnitudes go,
    divided by the Euclidean norm of their layer under `scope=global`.

    How far: as `sparsity`, `layers` and `pattern` say; else as far as a limit on the drop
    (`--max-drop`) allows, by halving; else half of the weights. Exactly the requested share becomes
    zero, to within one element (one unit of `pattern`); of equal costs the first go first. A weight
    that several layers share is pruned once and fitted to all of them. For N:M the neighbours are
    consecutive input channels (of one tap of a convolution); a shorter last group keeps its
    share, rounded up. With up to 32 samples the pass checks whether data help; if not, magnitudes
    decide (few-samples).

    Leaves alone: the first and last layers where no costs are measured (first-layer, last-layer;
    see `protect_ends`), depthwise convolutions (depthwise), embedding tables (embedding), small
    weights (too-small), names that match `exclude` (excluded), a share of 0 in `layers`
    (zero-share), operators not in `op_types` (op-type), recurrent ones (recurrent), quantized
    weights (already-quantized), computed ones (dynamic-weight), ones that something else reads
    (shared-weight), ones with infinities (non-finite), ones that the file computes of less
    (computed-weight), ones that have enough zeros (already-sparse). By magnitude alone, each with
    its own share, go weights that data cannot judge: in bodies of control flow (in-body), stacks of
    matrices (batched-weight), tables (no-matrix), more than 4,608 inputs (too-wide), padding that
    depends on unknown extents (auto-pad), unknown ranks (unknown-rank), products with vectors
    (vector), inputs that are never finite (unseen). Layers whose zeros alone make outputs NaN or
    infinite, as whole filters do before a division by the deviation, are left alone (not-finite).
    Numerics: lossy.
    Reference: Hassibi and Stork, Second order derivatives for network pruning: Optimal Brain
    Surgeon, 1993; Frantar et al., Optimal Brain Compression, 2022, and SparseGPT, 2023; Sun et
    al., A Simple and Effective Pruning Approach (Wanda), 2023; van der Ouderaa et al., The LLM
    Surgeon, 2024; Molchanov et al., Importance
    Estimation, 2019; Lin et al., Synaptic Strength, 2018; Han et al., Learning both Weights and
    Connections, 2015.
    """

    name = "prune"
    after = order.TO_ZERO
    noun = "zeros"
    saves_time = False
    weights_of = ("Conv", "ConvTranspose", "Gemm", "MatMul")
    goals = ("sparsity", "pattern", "layers")
    may_change = Facet.WEIGHTS

    sparsity: float | None = option(
        None,
        help="Share of weights to set to zero; none: as many as the limit on the drop allows, or "
        "half of them without a limit.",
        at_least=0,
        at_most=1,
    )
    scope: str = option(
        "global",
        help="Use one threshold for all layers or one per layer.",
        choices=("global", "layer"),
    )
    pattern: str = option(
        "unstructured",
        help="What becomes zero together: single weights (unstructured), all but N of M "
        "neighbouring inputs (2:4), blocks of outputs by inputs (4x1), all taps of a pair "
        "of channels (kernel), the same weight of all outputs (vector), all weights of one "
        "output channel (filter).",
    )
    criterion: str = option(
        "auto",
        help="What goes first: smallest magnitude (l1, l2: the same for single weights), input "
        "deviation times kernel norm (strength), input norm times magnitude (wanda), "
        "first-order effect on the model's outputs (taylor), least output error after the "
        "other weights compensate (obs); auto is obs with data and l2 without.",
        choices=CRITERIA,
    )
    refit: bool = option(
        True, help="With data, refit the remaining weights and the biases, layer by layer."
    )
    layers: dict[str, float] = option(
        {},
        help="Sparsity by layer: glob of node names to share; the first match counts.",
    )
    exclude: tuple[str, ...] = option((), help="Globs of node names to leave alone.")
    op_types: tuple[str, ...] = option(
        ("Conv", "ConvTranspose", "Gemm", "MatMul"), help="Operators whose weights are pruned."
    )
    protect_ends: bool | None = option(
        None,
        help="Leave the first and the last layers alone; none: only where costs are not "
        "measured, that is with criterion l1 or l2.",
    )
    depthwise: bool = option(False, help="Prune depthwise convolutions too.")
    smallest: int = option(512, help="Leave weights with fewer elements alone.", at_least=0)

    def __post_init__(self) -> None:
        """Check ranges, the pattern, and options that contradict each other."""
        super().__post_init__()
        pattern = patterns.parse(self.pattern)
        if pattern is None:
            named = ", ".join(patterns.NAMED)
            msg = f"prune: pattern={self.pattern!r} is none of {named}, N:M (2:4) or RxC (4x1)"
            raise OptionError(msg)
        for name, share in (("sparsity", self.sparsity or 0.0), *self.layers.items()):
            if not 0 <= share < 1:
                msg = f"prune: {name}={share!r} is outside 0..1 (1 excluded)"
                raise OptionError(msg)
        check_known(self.op_types, OP_TYPES, self.name, "op_types")
        self._check_fixed(pattern.fixed_sparsity)

    def _check_fixed(self, fixed: float | None) -> None:
        if fixed is None:
            return
        given = [("sparsity", self.sparsity)] if self.sparsity is not None else []
        for name, share in (*given, *self.layers.items()):
            if share not in (0, fixed):
                msg = (
                    f"prune: {name}={share:g} contradicts pattern={self.pattern}, which makes "
                    f"{fixed:g} of the weights zero"
                )
                raise OptionError(msg)

    def blind(self) -> Prune | None:
        """Return the pass that goes by magnitude and fits nothing, unless a criterion is named."""
        return replace(self, criterion="l2", refit=False) if self.criterion == "auto" else None

    def propose(self, model: Model, ctx: Context) -> Zeros:
        """Find out what every weight costs.

        Raises:
            OptionError: If a name pattern matches nothing.
            DataError: If the criterion needs data and there are none.
        """
        criterion = self._criterion(ctx)
        # magnitudes do not tell that errors of the ends are dearer; costs that are measured do
        ends = criterion in costs.DATA_FREE if self.protect_ends is None else self.protect_ends
        rules = Rules(self.op_types, self.exclude, ends, self.depthwise, self.smallest)
        self._check_names(model)
        wanted = [(c, self._share(c)) for c in collect(model, rules, ctx)]
        for candidate, share in wanted:
            if share == 0:
                ctx.skip_each(candidate.nodes, "zero-share", "the share requested for it is 0")
        wanted = [(c, s) for c, s in wanted if s != 0]
        limited = not self.has_goal and ctx.allowance.has(Limit.DROP)
        deepest = DEEPEST if limited else self._amount
        costed = self._costed(model, wanted, criterion, deepest, ctx)
        if not limited or self.pattern == "filter":  # else the limit finds out how far it may go
            wanted = list(_finite(wanted, costed, ctx))
        masks = partial(self._masks, wanted, costed, criterion)
        return Zeros([c for c, _ in wanted], costed, criterion, masks)

    def asked(self, proposal: Zeros) -> Plan:
        """Return the zeros that the options ask for."""
        return proposal.making(self._amount)

    def build(self, model: Model, plan: Plan, ctx: Context, *, fit: bool) -> Built:
        """Return the model with zeros, what is left of each weight fitted."""
        return build(model, plan, ctx if fit and self.refit and ctx.has_data else None)

    def gauges(
        self, model: Model, proposal: Zeros, chosen: Chosen, ctx: Context
    ) -> Iterator[Gauge]:
        """Yield the share of zeros among the weights of all layers."""
        if self.sparsity is not None:
            after = model if chosen.built is None else chosen.built.model
            share, unit = prune_rows.share_of_zeros(after), "of the weights of all layers are zero"
            yield Gauge("sparsity", self.sparsity, share, unit, at_most=False)

    def finish(self, model: Model, proposal: Zeros, chosen: Chosen, ctx: Context) -> Outcome:
        """Say of each weight how much of it is zero, and change the model."""
        for weight in proposal.weights:
            if weight.name not in chosen.plan:
                reason = proposal.reasons.get(weight.name, _SPARSE)
                ctx.skip_each(weight.nodes, reason.code, reason.why)
        details = prune_rows.details(model, proposal, chosen, ctx)
        if chosen.built is None:
            return Outcome(details=details)
        made = sum(row["pruned"] for row in details["layers"] if "pruned" in row)
        model.become(chosen.built.model)
        counts = {"weights pruned": len(chosen.plan), "zeros made": made}
        return Outcome(Facet.WEIGHTS, counts, details)

    @property
    def _amount(self) -> float:
        """The share of all weights that is asked for."""
        return HALF if self.sparsity is None else self.sparsity

    def _criterion(self, ctx: Context) -> str:
        if self.criterion != "auto":
            return self.criterion
        return "obs" if ctx.has_data else "l2"

    def _costed(
        self,
        model: Model,
        wanted: list[tuple[LayerWeight, float | None]],
        criterion: str,
        sparsity: float,
        ctx: Context,
    ) -> dict[int, Costed]:
        pattern = patterns.parse(self.pattern)
        assert pattern is not None
        if criterion in costs.DATA_FREE or not wanted:
            return {}
        share = pattern.fixed_sparsity or sparsity
        deepest = max([share, *(s for _, s in wanted if s is not None)])
        question = Question(criterion, pattern, share, deepest)
        group = [c for c, _ in wanted]
        measured = costs.measure(model, group, question, ctx)
        return corrected(model, group, measured, ctx) if self.scope == "global" else measured

    def _check_names(self, model: Model) -> None:
        nodes = [node for _, node in model.nodes()]
        layers = [n.label for n in nodes if weight_of(n) is not None]
        check_names(layers, tuple(self.layers), self.name, "layers")
        check_patterns(model, self.exclude, self.name)

    def _share(self, candidate: LayerWeight) -> float | None:
        """Return the share that `layers` gives one layer; None where it goes with all."""
        for pattern, share in self.layers.items():
            if any(fnmatchcase(node.label, pattern) for node in candidate.nodes):
                return share
        return None if self._amount else 0.0

    def _masks(
        self,
        wanted: list[tuple[LayerWeight, float | None]],
        costed: Mapping[int, Costed],
        criterion: str,
        sparsity: float,
    ) -> Iterator[np.ndarray]:
        """Yield what becomes zero of each weight, bool of its shape."""
        pattern = patterns.parse(self.pattern)
        assert pattern is not None
        common = [c for c, share in wanted if share is None and self.scope == "global"]
        if costed:  # magnitudes cannot be compared with what was measured
            common = [c for c in common if id(c.value) in costed]
        norms = {id(c.value): magnitude.energy(c.array) ** 0.5 or 1.0 for c in common}
        scores = Scores(pattern, criterion == "l1", costed, norms)
        together = scores.line(common, sparsity) if not pattern.group else None
        for candidate, share in wanted:
            if together is None:
                yield scores.groups_mask(candidate)
                continue
            chosen = together
            if share is not None or not any(candidate is c for c in common):
                chosen = scores.line([candidate], sparsity if share is None else share)
            yield pattern.elements(chosen(candidate), candidate.form)


def _finite(
    wanted: Iterable[tuple[LayerWeight, float | None]], costed: Mapping[int, Costed], ctx: Context
) -> Iterator[tuple[LayerWeight, float | None]]:
    """Yield weights whose zeros leave outputs finite, as a trial of each alone has shown."""
    for candidate, share in wanted:
        known = costed.get(id(candidate.value))
        if known is not None and known.ruined:
            why = "its zeros alone make outputs NaN or infinite"
            ctx.skip_each(candidate.nodes, "not-finite", why)
        else:
            yield candidate, share
