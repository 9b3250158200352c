"""Weights made of words from a codebook."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ocompress.errors import OptionError
from ocompress.ir import Facet, Model
from ocompress.lossy import applying
from ocompress.lossy.engine import Chosen, LossyPass, Plan
from ocompress.lossy.layer_weights import LayerWeight, Rules
from ocompress.pipeline import Context, Limit, Outcome, option
from ocompress.pipeline.goals import Gauge
from ocompress.pipeline.naming import check_known, check_patterns
from passes import order
from passes.sharing.codings import Codings, codings
from passes.sharing.rows import coded_rows
from passes.sharing.walking import Walked, collected, finish
from passes.sharing.word_settings import Asked
from passes.sharing.words import Encoded, build, described, orders_of

_OP_TYPES = ("Conv", "ConvTranspose", "Gemm", "MatMul")
_WORDS = 256
"""Codewords where nothing says how many."""


class Codebook(LossyPass):
    """Make weights of words from a codebook (product quantization).

    Before: y = Conv(x, W)
    After:  y = Conv(x, W'), W' of at most `codewords` different slices of a kernel

    The .onnx stays as large as it is; `--storage packed` and archives store which word each block
    of weights is. Blocks are the slices of kernels, one for each pair of channels, or `block`
    neighbouring inputs of an output. With calibration data (no labels needed) layers follow one
    another: what the layer's weight should be, on what the layers before it now make, is fitted;
    words start from expectation maximization in which errors of a block count by second moments of
    its inputs, all other inputs making up for them, and by the Fisher information of its output;
    blocks get their words in parts, what is left making up for the errors of each; then words are
    fitted in closed form and blocks change from word to word, one at a time, in turns, to where
    the model's outputs lose least, errors in pairs of outputs. Biases make up for means. Words are
    whole numbers of 8 bits times one unit for the layer (numbers of 16 bits where those cost much
    more, and for other types than float32), after which blocks choose once more. Without data each
    block takes the nearest word of plain k-means.
    Channels are put in another order first (`permute`) where blocks are of neighbouring channels
    (1 x 1 convolutions, products with matrices): in one that makes the determinant of the
    covariance of blocks small, found by swaps, for all layers together that read the channels. All
    that makes, carries and reads a channel moves with it, so the model computes the same up to
    rounding, and files take no index. An order is kept if words of all lengths, each block by
    itself, then cost at least 2 % less. Channels stay that meet an input or output of the model, a
    normalization over channels, a convolution with groups that is not depthwise, a channel shuffle,
    a layer that `exclude` names, a weight that others read in another order or that the file
    computes, or a block of zeros.
    `scope=model` gives one table to all layers with blocks of one length: whole numbers of 8 bits,
    fitted once, before the first layer, to the weights of all of them, each output's by its size;
    each output then has a scale, fitted in closed form. Files hold the table once. Layers whose
    outputs are no rows or columns of their weight (transposed convolutions), and of other types
    than float32, have words of their own.

    How far: as `codewords` or `mean_bits` say; else as far as a limit on the drop (`--max-drop`)
    allows, each layer with blocks and codewords of its own; else 256 codewords. There are at least
    four blocks to a word, so small layers have fewer words. A weight that several layers share has
    one codebook. Blocks of zeros stay zero, with a word for them, so what `prune` emptied stays
    empty; single zeros do not, nor any under scope=model. With up to 32 samples the pass checks
    whether data help; if not, it does without (few-samples).

    Leaves alone: weights that are too few (few-blocks), ones that save less than others at the same
    cost (not-chosen), inputs that are no multiple of `block` (uneven-blocks), layers without
    kernels under block=kernel (no-kernel), embedding tables (embedding), small weights (too-small),
    names that match `exclude` (excluded), operators not in `op_types` (op-type), recurrent ones
    (recurrent), quantized weights (already-quantized), computed ones (dynamic-weight), ones that
    something else reads (shared-weight), ones with infinities (non-finite), ones that the file
    computes of less (computed-weight), ones of zeros only (all-zero), ones in bodies of control
    flow (in-body), stacks of matrices (batched-weight), tables (no-matrix), padding that depends on
    unknown extents (auto-pad), unknown ranks (unknown-rank), products with vectors (vector). By
    itself alone, as without data, goes a weight that data cannot judge: more than 4,608 inputs
    (too-wide), inputs that are never finite (unseen).
    Numerics: lossy.
    Reference: Stock et al., And the Bit Goes Down, 2020; van Baalen et al., GPTVQ, 2024; Gong et
    al., Compressing Deep Convolutional Networks using Vector Quantization, 2014; Jegou et al.,
    Product Quantization for Nearest Neighbor Search, 2011; Martinez et al., Permute, Quantize, and
    Fine-tune, 2021.
    """

    name = "codebook"
    after = order.TO_QUANTIZE
    noun = "codebooks"
    saves_time = False
    weights_of = _OP_TYPES
    goals = ("codewords", "mean_bits")
    aims = ("mean_bits",)
    may_change = Facet.WEIGHTS | Facet.TOPOLOGY | Facet.NAMES

    codewords: int | None = option(
        None,
        help="Words of a layer, at most; none: as few as the limit on the drop allows, or 256 "
        "without a limit.",
        at_least=2,
        at_most=1 << 16,
    )
    mean_bits: float | None = option(
        None,
        help="Mean bits of a weight, words included; each layer gets what costs least.",
        at_least=0.05,
        at_most=32,
    )
    block: str = option(
        "auto",
        help="What a word is: a slice of a kernel (kernel), so many neighbouring inputs (a "
        "number), or slices of kernels of up to 16 taps and else 4 inputs, or 5, 3 or 2 (auto).",
        choices=("auto", "kernel", "2", "3", "4", "5", "8", "16"),
    )
    scope: str = option(
        "layer",
        help="What shares words: a layer, or all layers with blocks of one length (model).",
        choices=("layer", "model"),
    )
    fit: bool = option(
        True, help="With data, let weights make up for each other's errors, layer by layer."
    )
    permute: bool = option(
        True,
        help="Put channels in an order in which words cost less; not under scope=model.",
    )
    exclude: tuple[str, ...] = option((), help="Globs of node names to leave alone.")
    op_types: tuple[str, ...] = option(_OP_TYPES, help="Operators whose weights are encoded.")
    smallest: int = option(512, help="Leave weights with fewer elements alone.", at_least=0)

    def __post_init__(self) -> None:
        """Check operators, and options that contradict each other."""
        super().__post_init__()
        check_known(self.op_types, _OP_TYPES, self.name, "op_types")
        if self.mean_bits is not None and self.codewords is not None:
            msg = "codebook: mean_bits chooses the codewords of each layer; leave out codewords"
            raise OptionError(msg)

    def preview(self, model: Model, ctx: Context) -> Outcome:
        """Count the weights that may be made of words."""
        found = self._find(model, ctx)
        return Outcome(counts={"weights that may be encoded": len(found)} if found else {})

    def propose(self, model: Model, ctx: Context) -> Codings:
        """Find out what each codebook costs in each layer.

        Raises:
            OptionError: If a name pattern matches nothing.
        """
        searched = self.mean_bits is not None or (
            not self.has_goal and ctx.allowance.has(Limit.DROP)
        )
        together = self.scope == "model"
        asked = Asked(self.block, self.codewords or _WORDS, searched, ctx.seed, together)
        weights = self._find(model, ctx)
        seen = self.fit and ctx.has_data
        permute, exclude = self.permute, self.exclude
        return codings(model, weights, asked, ctx, seen=seen, permute=permute, exclude=exclude)

    def _find(self, model: Model, ctx: Context) -> list[LayerWeight]:
        check_patterns(model, self.exclude, self.name)
        return collected(model, Rules(self.op_types, self.exclude, False, True, self.smallest), ctx)

    def asked(self, proposal: Codings) -> Plan:
        """Return the codebooks that are asked for."""
        if self.mean_bits is not None:
            return proposal.taking_bits(self.mean_bits)
        return proposal.first()

    def build(self, model: Model, plan: Plan, ctx: Context, *, fit: bool) -> Walked[Encoded]:
        """Return the model made of words, layer after layer fitted."""
        return build(model, plan, ctx if fit and self.fit and ctx.has_data else None)

    def gauges(
        self, model: Model, proposal: Codings, chosen: Chosen, ctx: Context
    ) -> Iterator[Gauge]:
        """Yield the mean bits of a weight."""
        if self.mean_bits is not None:
            yield proposal.gauge(chosen.plan, self.mean_bits)

    def finish(self, model: Model, proposal: Codings, chosen: Chosen, ctx: Context) -> Outcome:
        """Say of each weight what became of it, and change the model."""
        report = {}
        if isinstance(chosen.built, Walked):
            predicted = sum(move.error for move in chosen.plan.values())
            report = {
                "codebooks": coded_rows(proposal.weights, chosen, chosen.built.rows, described)
            }
            report |= applying.together(model, chosen.built, predicted, ctx)
        outcome = finish(model, proposal.weights, proposal, chosen, ctx, report, "weights encoded")
        moved = len(orders_of(chosen.plan))
        if moved:
            counts = {**outcome.counts, "groups of channels put in order": moved}
            outcome = replace(outcome, counts=counts)
        return outcome
