"""Weights that share a few values."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase

from ocompress.errors import OptionError
from ocompress.ir import Facet, Model
from ocompress.lossy import applying
from ocompress.lossy.engine import Chosen, LossyPass, Plan
from ocompress.lossy.layer_weights import OP_TYPES, LayerWeight, Rules, weight_of
from ocompress.pipeline import Context, Outcome, option
from ocompress.pipeline.goals import Gauge
from ocompress.pipeline.naming import check_known, check_names, check_patterns
from passes import order
from passes.sharing.clusters import Shared, build, described
from passes.sharing.counts import BITS, Counts, Wanted, counts
from passes.sharing.palettes import STARTS
from passes.sharing.rows import coded_rows
from passes.sharing.walking import Walked, collected, finish

_DEFAULT_BITS = 4
"""Bits where nothing says how many."""


class Cluster(LossyPass):
    """Let the weights of a layer share a few values.

    Before: y = Conv(x, W)
    After:  y = Conv(x, W'), W' of 2^bits different numbers

    The .onnx stays as large as it is; `--storage packed` and archives store which of the values
    each weight has. Values start as the centroids of k-means, a weight counting as much as errors
    of it cost: the power of its input times the Fisher information of its output. With calibration
    data (no labels needed) layers follow one another: what the layer's weight should be, on what
    the layers before it now make, is fitted; its inputs get their values in parts, what is left
    making up for the errors of each; then values are fitted in closed form and weights move from
    value to value, one at a time, in turns, to where the model's outputs lose least, errors in
    pairs of outputs, as in `prune`. Biases make up for means. Without data each weight takes the
    nearest value of plain k-means. Zeros stay zero, so `prune` may come before; zero is then one
    of the values.

    How far: as `bits`, `layers` or `mean_bits` say; else as far as a limit on the drop
    (`--max-drop`) allows, each layer with bits of its own; else 4 bits. `scope=layer` gives each
    layer its values, `channels` each `channels` outputs of it, `model` all layers together: those
    are fitted once, before the first. A weight that several layers share is clustered once. With
    up to 32 samples the pass checks whether data help; if not, it does without (few-samples).

    Leaves alone: weights that have no more different values than asked for, or fewer than twice as
    many elements (few-values), ones that save less than others at the same cost (not-chosen),
    embedding tables unless `op_types` names Gather (embedding), small weights (too-small), names
    that match `exclude` (excluded), operators not in `op_types` (op-type), recurrent ones
    (recurrent), quantized weights (already-quantized), computed ones (dynamic-weight), ones that
    something else reads (shared-weight), ones with infinities (non-finite), ones that the file
    computes of less (computed-weight), ones of zeros only (all-zero). By itself alone, as without
    data, goes a weight that data cannot judge: in bodies of control flow (in-body), stacks of
    matrices (batched-weight), tables (no-matrix), more than 4,608 inputs (too-wide), padding that
    depends on unknown extents (auto-pad), unknown ranks (unknown-rank), products with vectors
    (vector), inputs that are never finite (unseen).
    Numerics: lossy.
    Reference: Han et al., Deep Compression, 2016; Choi et al., Towards the Limit of Network
    Quantization, 2017; Frantar et al., Optimal Brain Compression, 2022; Arthur and Vassilvitskii,
    k-means++, 2007.
    """

    name = "cluster"
    after = order.TO_QUANTIZE
    noun = "clusters"
    saves_time = False
    weights_of = ("Conv", "ConvTranspose", "Gemm", "MatMul")
    goals = ("bits", "mean_bits", "layers")
    aims = goals
    may_change = Facet.WEIGHTS | Facet.TOPOLOGY | Facet.NAMES

    bits: int | None = option(
        None,
        help="Every layer gets 2^bits values; none: as few as the limit on the drop allows, or 4 "
        "bits without a limit.",
        at_least=BITS[0],
        at_most=BITS[-1],
    )
    mean_bits: float | None = option(
        None,
        help="Mean bits of a weight, values included; each layer gets what costs least.",
        at_least=1,
        at_most=32,
    )
    layers: dict[str, int] = option(
        {}, help="Bits by layer: glob of node names to bits; the first match counts."
    )
    scope: str = option(
        "layer",
        help="What shares values: a layer, some output channels of it, or the whole model.",
        choices=("layer", "channels", "model"),
    )
    channels: int = option(
        16, help="Output channels that share values under scope=channels.", at_least=1
    )
    start: str = option(
        "kmeans++",
        help="Where k-means starts: evenly spaced values (linear), as many weights between "
        "neighbours (density), or drawn in proportion to the cost so far, best of 8 (kmeans++).",
        choices=STARTS,
    )
    fit: bool = option(
        True, help="With data, let weights make up for each other's errors, layer by layer."
    )
    exclude: tuple[str, ...] = option((), help="Globs of node names to leave alone.")
    op_types: tuple[str, ...] = option(
        ("Conv", "ConvTranspose", "Gemm", "MatMul"), help="Operators whose weights are clustered."
    )
    smallest: int = option(64, help="Leave weights with fewer elements alone.", at_least=0)

    def __post_init__(self) -> None:
        """Check operators, bits, and options that contradict each other."""
        super().__post_init__()
        check_known(self.op_types, OP_TYPES, self.name, "op_types")
        for pattern, bits in self.layers.items():
            if bits not in BITS:
                msg = f"cluster: layers gives {pattern!r} {bits} bits, not {BITS[0]} to {BITS[-1]}"
                raise OptionError(msg)
        if self.mean_bits is not None and (self.bits is not None or self.layers):
            msg = "cluster: mean_bits chooses the bits of each layer; leave out bits and layers"
            raise OptionError(msg)

    def preview(self, model: Model, ctx: Context) -> Outcome:
        """Count the weights that may share values."""
        found = self._find(model, ctx)
        return Outcome(counts={"weights that may be clustered": len(found)} if found else {})

    def propose(self, model: Model, ctx: Context) -> Counts:
        """Find out what each number of values costs in each layer.

        Raises:
            OptionError: If a name pattern matches nothing.
        """
        channels = self.channels if self.scope == "channels" else 0
        wanted = Wanted(self.start, channels, self.scope == "model", ctx.seed)
        weights = self._find(model, ctx)
        return counts(model, weights, wanted, ctx, seen=self.fit and ctx.has_data)

    def _find(self, model: Model, ctx: Context) -> list[LayerWeight]:
        check_patterns(model, self.exclude, self.name)
        labels = [n.label for _, n in model.nodes() if weight_of(n) is not None]
        check_names(labels, tuple(self.layers), self.name, "layers")
        return collected(model, Rules(self.op_types, self.exclude, False, True, self.smallest), ctx)

    def asked(self, proposal: Counts) -> Plan:
        """Return the clusters that are asked for."""
        if self.mean_bits is not None:
            return proposal.taking_bits(self.mean_bits)
        bits = self.bits or _DEFAULT_BITS
        parts = proposal.layers.items()
        return proposal.with_bits({part: self._bits(labels, bits) for part, labels in parts})

    def _bits(self, labels: Sequence[str], otherwise: int) -> int:
        """Return the bits that `layers` gives a weight that nodes of these labels read."""
        for pattern, bits in self.layers.items():
            if any(fnmatchcase(label, pattern) for label in labels):
                return bits
        return otherwise

    def build(self, model: Model, plan: Plan, ctx: Context, *, fit: bool) -> Walked[Shared]:
        """Return the model with shared values, layer after layer fitted."""
        return build(model, plan, ctx if fit and self.fit and ctx.has_data else None)

    def gauges(
        self, model: Model, proposal: Counts, chosen: Chosen, ctx: Context
    ) -> Iterator[Gauge]:
        """Yield the mean bits of a weight."""
        if self.mean_bits is not None:
            yield proposal.gauge(chosen.plan, self.mean_bits)

    def finish(self, model: Model, proposal: Counts, chosen: Chosen, ctx: Context) -> Outcome:
        """Say of each weight what became of it, and change the model."""
        report = {}
        if isinstance(chosen.built, Walked):
            predicted = sum(move.error for move in chosen.plan.values())
            report = {
                "clusters": coded_rows(proposal.weights, chosen, chosen.built.rows, described)
            }
            report |= applying.together(model, chosen.built, predicted, ctx)
        done = "weights clustered"
        return finish(model, proposal.weights, proposal, chosen, ctx, report, done)
