"""Rounding of weights for files that are coded: as few bits as the error allows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from ocompress.errors import OptionError
from ocompress.io import pack_model, save_model
from ocompress.ir import Facet, Model
from ocompress.lossy.engine import Chosen, LossyPass, Plan
from ocompress.lossy.layer_weights import OP_TYPES, LayerWeight, Rules
from ocompress.pipeline import Context, Outcome, option
from ocompress.pipeline.goals import Gauge
from ocompress.pipeline.naming import check_known, check_patterns
from ocompress.stopping import temporary_folder
from passes import order
from passes.sharing import rows
from passes.sharing.building import BuiltLevels, build
from passes.sharing.offers import Prices
from passes.sharing.pricing import Priced, priced, priced_for_many
from passes.sharing.sizes import bits_taken
from passes.sharing.walking import collected, finish

_DEFAULT_BITS = 4.0
"""Mean bits of a weight where nothing says how many."""


class Entropy(LossyPass):
    """Round weights to few levels, zero above all, so that a coded file is small.

    Before: y = Conv(x, W)
    After:  y = Conv(x, W'), W' = step * Z, Z whole numbers that take few bits

    The .onnx stays as large as it is; what codes levels by how often they occur makes it small.
    Every weight is a whole multiple of one step, exactly, biases too. A price of a bit, the same
    for all layers, says how much the model's outputs may lose for it. With calibration data (no
    labels needed) weights that cost less than their bits become zero, by optimal brain surgeon and
    the Fisher information of the model's own outputs, as in `prune`. Then, first layer first,
    what is left is fitted to the outputs of the original's layer, on what the rounded layers
    before it now make, and rounded in parts, the rest making up for each. At last level after
    level goes where error plus price of the bits are least, given all others, with rates that
    follow. From 2 bits a weight on, errors are passed on weight by weight instead, to inputs and
    outputs to come (GPTQ), and groups have steps of their own. Without data the nearest level, the
    one before it or zero is taken, by squared error relative to the power of the output channel,
    which gets a step of its own.

    Weights over pictures, behind a Flatten or of kernels, of 8 x 8 places and more, may be sums of
    cosines, as in JPEG: their coefficients are rounded then, if that takes less. They are whole
    numbers too, so archives and `pack-weights` find them by looking.

    How far: as `bits` or `max_size` says; else as far as a limit on the drop (`--max-drop`) allows,
    by search; else 4 bits a weight. Zeros stay zero, so `prune` may come before. A weight that
    several layers share is rounded once. With up to 32 samples the pass checks whether data help;
    if not, it does without (few-samples). If no rounding that was tried takes so few bytes, weights
    stay (too-large).

    Leaves alone: embedding tables unless `op_types` names Gather (embedding), small weights
    (too-small), names that match `exclude` (excluded), operators not in `op_types` (op-type),
    recurrent ones (recurrent), quantized weights (already-quantized), computed ones
    (dynamic-weight), ones that something else reads (shared-weight), ones with infinities
    (non-finite), ones that the file computes of less (computed-weight), ones of zeros only
    (all-zero). By itself alone, as without data, goes a weight that data cannot judge: in bodies of
    control flow (in-body), stacks of matrices (batched-weight), tables (no-matrix), more than 4,608
    inputs (too-wide), padding that depends on unknown extents (auto-pad), unknown ranks
    (unknown-rank), products with vectors (vector), inputs that are never finite (unseen).
    Numerics: lossy.
    Reference: Wiedemann et al., DeepCABAC, 2020; Choi et al., Towards the Limit of Network
    Quantization, 2017; Conzelmann and Bamler, Reducing Storage of Pretrained Neural Networks by
    Rate-Constrained Quantization and Entropy Coding (CERWU), 2025; Frantar et al., Optimal Brain
    Compression, 2022; Hassibi and Stork, Optimal Brain Surgeon, 1993.
    """

    name = "entropy"
    after = order.TO_QUANTIZE
    noun = "roundings"
    saves_time = False
    weights_of = ("Conv", "ConvTranspose", "Gemm", "MatMul")
    goals = ("bits", "max_size")
    aims = goals
    may_change = Facet.WEIGHTS | Facet.TOPOLOGY | Facet.NAMES

    bits: float | None = option(
        None,
        help="Mean bits of a weight in a coded file, estimated; none: as few as the limit on the "
        "drop allows, or 4 without a limit.",
        at_least=0.01,
        at_most=16,
    )
    max_size: int | None = option(
        None,
        help="Bytes that the archive (.ocz) of the whole model may take, instead of `bits`; no "
        "other pass should follow.",
        at_least=1,
    )
    fit: bool = option(
        True, help="With data, let weights make up for each other's errors, layer by layer."
    )
    cosines: bool = option(
        True,
        help="Round layers that read flattened pictures, and kernels of 8 x 8 and more, by their "
        "coefficients as sums of cosines where that takes fewer bits; never before another lossy "
        "pass that would not keep them, as tune{levels=true} does.",
    )
    exclude: tuple[str, ...] = option((), help="Globs of node names to leave alone.")
    op_types: tuple[str, ...] = option(
        ("Conv", "ConvTranspose", "Gemm", "MatMul"), help="Operators whose weights are rounded."
    )
    smallest: int = option(64, help="Leave weights with fewer elements alone.", at_least=0)

    def __post_init__(self) -> None:
        """Check operators."""
        super().__post_init__()
        check_known(self.op_types, OP_TYPES, self.name, "op_types")
        if self.bits is not None and self.max_size is not None:
            msg = "entropy has both bits and max_size; give one of them"
            raise OptionError(msg)

    def preview(self, model: Model, ctx: Context) -> Outcome:
        """Count the weights that may be rounded."""
        found = self._find(model, ctx)
        return Outcome(counts={"weights that may be rounded": len(found)} if found else {})

    def propose(self, model: Model, ctx: Context) -> Prices:
        """Find out what errors of weights cost.

        Raises:
            OptionError: If a name pattern matches nothing.
        """
        found = self._find(model, ctx)
        seen = self.fit and ctx.has_data
        data = ctx if seen else None
        return Prices(
            found,
            partial(_priced, model, found, ctx, seen),
            lambda plan: build(model, plan, data),
            _archived,
            waves=self.cosines and all(p.keeps_weights for p in ctx.following),
        )

    def _find(self, model: Model, ctx: Context) -> list[LayerWeight]:
        check_patterns(model, self.exclude, self.name)
        rules = Rules(self.op_types, self.exclude, False, True, self.smallest)
        return collected(model, rules, ctx)

    def asked(self, proposal: Prices) -> Plan:
        """Return the rounding that takes the bits that are asked for."""
        if self.max_size is not None:
            return proposal.fitting(self.max_size)
        return proposal.taking(self.bits or _DEFAULT_BITS)

    def build(self, model: Model, plan: Plan, ctx: Context, *, fit: bool) -> BuiltLevels:
        """Return the model on levels, layer after layer fitted."""
        return build(model, plan, ctx if fit and self.fit and ctx.has_data else None)

    def gauges(
        self, model: Model, proposal: Prices, chosen: Chosen, ctx: Context
    ) -> Iterator[Gauge]:
        """Yield the mean bits of a weight, or the bytes of the archive."""
        if self.bits is not None:
            built = chosen.built
            taken = built.bits if isinstance(built, BuiltLevels) else float(proposal.whole_bits)
            yield bits_taken("bits", self.bits, taken, proposal.elements)
        if self.max_size is not None:
            smallest = min(proposal.sizes.values(), default=None)
            reached = proposal.sizes.get(id(chosen.plan), smallest)
            yield Gauge("max_size", self.max_size, reached, "bytes of the archive")

    def finish(self, model: Model, proposal: Prices, chosen: Chosen, ctx: Context) -> Outcome:
        """Say of each weight what became of it, and change the model."""
        details = rows.details(model, proposal, chosen, ctx)
        return finish(model, proposal.weights, proposal, chosen, ctx, details, "weights rounded")


def _priced(
    model: Model, weights: Sequence[LayerWeight], ctx: Context, seen: bool, many: bool
) -> dict[int, Priced]:
    """Return what errors of weights cost, given whether bits of a weight are many."""
    return (priced_for_many if many else priced)(model, weights, ctx, seen=seen)


def _archived(model: Model) -> int:
    """Return the bytes of a model's archive."""
    with temporary_folder() as folder:
        save_model(model, folder / "model.onnx")
        pack_model(folder / "model.onnx", folder / "model.ocz")
        return (folder / "model.ocz").stat().st_size
