"""Static quantization to 8-bit integers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from ocompress.analysis.statistics import Observers
from ocompress.diagnostics import Severity
from ocompress.ir import Facet, Model, Node
from ocompress.pipeline import Context, Numerics, Outcome, Pass, option
from ocompress.planning import Choice
from ocompress.targets import Target
from passes import order
from passes.quantization import matching, tables
from passes.quantization.choosing import Chooser, Choosing
from passes.quantization.drafting import Drafter, Rounding
from passes.quantization.mixing import apart
from passes.quantization.reconstruct import Reconstruction
from passes.quantization.refit import refit
from passes.quantization.scheme import Scheme
from passes.quantization.storing import addable, store_rest
from passes.quantization.tables import remark_on
from passes.quantization.units import Unit
from passes.quantization.widening import in_float32, widened


class Quant(Pass):
    """Quantize weights and activations to int8 where the integer kernels of ONNX Runtime pay.

    Before: y = Relu(Conv(x, W, b))
    After:  y = DQ(Q(Relu(Conv(DQ(Q(x)), DQ(W8), DQ(b32)))))
    ONNX Runtime turns such a pattern into one integer operator. Weights are symmetric with a
    scale per output channel and replace the float ones; activations are affine with one scale;
    biases are int32 at the product of both scales.
    A minimum cut chooses the operators that become integer ones: every operator has a time in float
    and in int8 on the target, every crossing of the border has one, and every grid and rounded
    weight has a noise, measured one at a time at the outputs of the model and priced at
    `noise_price`. A limit on the drop (`--max-drop`) raises the price until the limit holds; one on
    the latency (`--max-latency`) lowers it.
    `fit=gptq` rounds weights by second order, on what the quantized layers before a layer make, and
    keeps per channel what holds on samples that it was not fitted to.
    Weights of operators that stay in float are int8 in the file and widened to float at load, which
    costs no time: y = Conv(x, Mul(Cast(W8), scales)).
    A model that computes in 16-bit floats is first changed to compute in float32, with the same
    inputs and outputs (computes-in-float32); weights that are not quantized stay in 16 bits in the
    file.
    Unless the target rules it out (`x86-vnni`, `arm64`), weights avoid the few values that could
    clip on x86-64 without VNNI, which keeps results equal on every machine.
    Leaves alone: what would not be faster (does-not-pay) or cost too much (too-noisy; float-weight
    for weights that are not even stored as int8); operators without an integer kernel
    (no-int8-kernel), with computed weights or biases (dynamic-weight, dynamic-bias, odd-bias),
    with alpha or beta (scaled-gemm); other types than float32 (not-float32, not-float); values that
    no data reached (not-observed), that are not finite (not-finite) or of which no 256 levels hold
    the large and the small ones, as beside a mask (too-wide); what puts together outputs of very
    different size, as boxes and scores (mixed-units); weights that another node
    needs in float (shared-weight); what the options exclude (excluded). A model that is quantized
    already (already-quantized) or older than opset 13 (old-opset) is left alone as a whole, and so
    is every one with 16-bit activations unless slower results are allowed, as for an accelerator
    (no-16-bit-kernel).
    Numerics: lossy.
    """

    name = "quant"
    numerics = Numerics.LOSSY
    weights_of = ("Conv", "Gemm", "MatMul")
    appetite = 0.3
    may_change = Facet.TOPOLOGY | Facet.WEIGHTS | Facet.NAMES | Facet.TYPES
    after = order.TO_QUANTIZE
    needs_data = True

    calibration: str = option(
        "auto",
        help="How the range of an activation is chosen from its histogram; auto takes the least "
        "squared error or the full range, tensor by tensor, whichever disturbs the outputs "
        "less.",
        choices=("auto", "minmax", "percentile", "entropy", "mse"),
    )
    percentile: float = option(
        99.999,
        help="Percentage of elements that `percentile` keeps on either side.",
        at_least=50.0,
        at_most=100.0,
    )
    activations: str = option(
        "auto",
        help="Type of activations; auto asks the target. int8 fuses less often than uint8 on "
        "x86-64. 16 bits are for accelerators: ONNX Runtime has no CPU kernels for them.",
        choices=("auto", "uint8", "int8", "uint16", "int16"),
    )
    symmetric: bool = option(False, help="Whether activation ranges are symmetric around zero.")
    weight_bits: str = option(
        "auto",
        help="Bits of weights; auto takes 8 and avoids saturating pairs where the target has them.",
        choices=("auto", "8", "7"),
    )
    per_channel: bool = option(True, help="Whether each output channel has its own weight scale.")
    fit: str = option(
        "gptq",
        help="How weights are rounded: to nearest (rtn), or by second order on data, "
        "compensating for the layers before (gptq).",
        choices=("gptq", "rtn"),
    )
    bias_correction: bool = option(
        True, help="Whether biases compensate for the mean weight error."
    )
    rest: str = option(
        "int8",
        help="How to store weights of operators that stay in float: as int8, widened to float at "
        "load, or as float.",
        choices=("int8", "float"),
    )
    costs: str = option(
        "auto",
        help="Costs that decide what pays: the target's table, times measured on this machine, "
        "or the table unless its choice turns out too slow here (auto).",
        choices=("auto", "table", "measured"),
    )
    noise_price: float = option(
        0.06,
        help="Share of the time to give up to lower the output noise by a factor e, down to 25 "
        "dB of SQNR; below that at least what the knee of the trade-off asks for. 0 takes "
        "the fastest. Where only weights get smaller, that is worth a hundredth of the "
        "time.",
        at_least=0.0,
        at_most=10.0,
    )
    keep_slower: bool = option(
        False,
        help="Quantize everything that has an integer kernel. The result may be slower, as with "
        "--allow-slower.",
    )
    op_types: tuple[str, ...] = option((), help="Operator types to quantize; empty means all.")
    exclude: tuple[str, ...] = option((), help="Patterns of node names to leave in float.")
    exclude_ops: tuple[str, ...] = option((), help="Operator types to leave in float.")

    def lowest_opset(self) -> int:
        """Return the first opset whose QuantizeLinear has the types asked for."""
        return 21 if self.activations.endswith("16") else 0

    def observers(self, model: Model) -> Observers:
        """Ask for a histogram of every activation that may become integers."""
        if not _is_eligible(model):
            return {}
        units = self._find(model)
        return matching.observers_of(units, means=self.bias_correction)

    def run(self, model: Model, ctx: Context) -> Outcome:
        """Quantize."""
        if not self._may_run(model, ctx):
            return Outcome()
        return in_float32(model, ctx, self._quantize)

    def preview(self, model: Model, ctx: Context) -> Outcome:
        """Count the operators with integer kernels; which of them pay is for the data to say."""
        if not self._may_run(model, ctx):
            return Outcome()
        units = self._find(widened(model), ctx.skip)
        if not units:
            why = "the model has no operator with an integer kernel"
            ctx.remark(Severity.DECLINED, "nothing-to-quantize", why)
        kinds = Counter(f"{unit.node.op_type} that may become int8" for unit in units)
        return Outcome(counts=dict(sorted(kinds.items())))

    def _may_run(self, model: Model, ctx: Context) -> bool:
        """Whether the model is one to quantize; if not, says why."""
        if model.opset and model.opset < 13:
            why = f"opset {model.opset} has no scales per channel; canonicalize upgrades it to 13"
            ctx.remark(Severity.DECLINED, "old-opset", why)
        elif not _is_eligible(model):
            why = "the model has quantized operators already; quantize the float model instead"
            ctx.remark(Severity.DECLINED, "already-quantized", why)
        elif self.activations.endswith("16") and (not ctx.allows_slower or model.opset < 21):
            why = (
                f"{self.activations} needs opset 21 and runs in float on processors; give "
                "--allow-slower or keep_slower=true if the model is for an accelerator"
            )
            ctx.remark(Severity.DECLINED, "no-16-bit-kernel", why)
        else:
            return True
        return False

    def _find(self, model: Model, skip: matching.Skip = lambda *_: None) -> list[Unit]:
        return matching.find_units(
            model,
            skip,
            exclude=self.exclude,
            exclude_ops=self.exclude_ops,
            op_types=self.op_types,
        )

    def _rounding(self, target: Target) -> Rounding:
        return Rounding(
            calibration=self.calibration,
            percentile=self.percentile,
            dtype=target.activation_dtype if self.activations == "auto" else self.activations,
            symmetric=self.symmetric,
            seven=self.weight_bits == "7",
            careful=self.weight_bits == "auto" and target.saturates,
            per_channel=self.per_channel,
            bias_correction=self.bias_correction,
        )

    def _quantize(self, model: Model, ctx: Context) -> Outcome:
        excluded: list[Node] = []

        def skip(node: Node, code: str, why: str) -> None:
            ctx.skip(node, code, why)
            if code == "excluded":
                excluded.append(node)

        original = model.clone()
        units = self._find(model, skip)
        if not units:
            why = "the model has no operator with an integer kernel"
            ctx.remark(Severity.DECLINED, "nothing-to-quantize", why)
            return self._with_rest(model, original, excluded, Outcome(), None, ctx)
        statistics = ctx.statistics(model, matching.observers_of(units, means=self.bias_correction))
        units = apart(matching.observed(units, statistics, ctx.skip), model, ctx.data, ctx.skip)
        rounding = self._rounding(ctx.target)
        drafter = Drafter(model, self._find, statistics, rounding, excluded)
        places = {i for i, (_, n) in enumerate(model.nodes()) if id(n) in set(map(id, excluded))}
        chosen = self._choose(units, drafter, ctx)
        outcome = self._carry_out(chosen, drafter, original, ctx)
        if chosen.placement.chosen and not self.keep_slower:
            model.sort()
            verdict = ctx.judged("latency", model, original)
            if verdict is not None and not verdict.held:
                chosen = chosen.without_integers(verdict.message)
                model.become(original.clone())
                drafter.excluded = [n for i, (_, n) in enumerate(model.nodes()) if i in places]
                outcome = self._carry_out(chosen, drafter, original, ctx)
        remark_on(chosen, ctx)
        return outcome

    def _carry_out(
        self, chosen: Choosing, drafter: Drafter, original: Model, ctx: Context
    ) -> Outcome:
        """Make integers of what was chosen, and store the weights of the rest."""
        report = tables.details(chosen, Scheme(), {}, drafter.statistics, ctx.target)
        outcome = Outcome(details=report)
        if chosen.placement.chosen:
            outcome = self._rewrite(drafter, chosen, ctx)
        noise = None
        if chosen.placement.chosen:
            noise = chosen.noise.total(chosen.placement.chosen) if chosen.noise else 0.0
        return self._with_rest(drafter.model, original, drafter.excluded, outcome, noise, ctx)

    def _choose(self, units: list[Unit], drafter: Drafter, ctx: Context) -> Choosing:
        samples = max(1, ctx.data.samples)
        found = drafter.statistics.items()
        sizes = {n: s.elements / samples for (n, w), s in found if w == matching.HISTOGRAM}
        return Chooser(
            drafter=drafter,
            units=units,
            elements=lambda v: float(v.constant.size) if v.constant is not None else sizes[v.name],
            costs=self.costs,
            rate=self.noise_price,
            ctx=ctx,
        ).choose(everything=self.keep_slower)

    def _rewrite(self, drafter: Drafter, chosen: Choosing, ctx: Context) -> Outcome:
        units = chosen.placement.chosen
        scheme = drafter.scheme(units)
        fits: dict[int, Reconstruction] = {}
        if self.fit == "gptq":
            fits = refit(drafter.draft(units), units, scheme, drafter.rounding, ctx)
        report = tables.details(chosen, scheme, fits, drafter.statistics, ctx.target)
        drafter.emit(units, scheme)
        counts = Counter(f"int8 {u.node.op_type}" for u in units)
        left = sum(c is Choice.FLOAT for c in chosen.placement.choices)
        if left:
            counts["left in float"] = left
        return Outcome(self.may_change, dict(sorted(counts.items())), report)

    def _with_rest(
        self,
        model: Model,
        original: Model,
        excluded: Sequence[Node],
        done: Outcome,
        noise: float | None,
        ctx: Context,
    ) -> Outcome:
        """Store the weights that stay in float, but for those of excluded operators."""
        if self.rest == "float":
            return done
        allowed = addable(noise, self.noise_price)
        rows = store_rest(model, original, {id(n) for n in excluded}, allowed, ctx)
        if not rows:
            return done
        counts = {**done.counts, "weights stored as int8": len(rows)}
        facets = done.changed | Facet.TOPOLOGY | Facet.WEIGHTS | Facet.NAMES
        return Outcome(facets, dict(sorted(counts.items())), {**done.details, "stored": rows})


def _is_eligible(model: Model) -> bool:
    quantized = any(node.is_op(*matching.QUANTIZED_OPS) for _, node in model.nodes())
    return not quantized and (model.opset >= 13 or model.opset == 0)
