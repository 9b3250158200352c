"""Static quantization to 8-bit integers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from ocompress.analysis.statistics import Observers
from ocompress.diagnostics import Severity
from ocompress.errors import OptionError
from ocompress.ir import Facet, Model, Node
from ocompress.lossy import LossyPass, Plan
from ocompress.lossy.engine import Chosen
from ocompress.pipeline import Context, Outcome, Verdict, option
from ocompress.planning import Choice
from ocompress.targets import Target
from passes import order
from passes.quantization import matching, tables
from passes.quantization.candidates import candidates
from passes.quantization.choosing import Chooser
from passes.quantization.proposal import INTEGERS, Placements, Quantized, ToIntegers
from passes.quantization.reconstruct import Reconstruction
from passes.quantization.refit import refit
from passes.quantization.rounding import GridRounding
from passes.quantization.scheme import Scheme
from passes.quantization.storable import Storable, store_named
from passes.quantization.tables import remark_on
from passes.quantization.units import Unit
from passes.quantization.widening import in_float32, widened

_NOTHING = "the model has no operator with an integer kernel"


class Quant(LossyPass):
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
    the latency (`--max-latency`) lowers it; `min_sqnr` asks for the fastest choice with as little
    noise.
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
    different size, as boxes and scores (mixed-units); weights that another node needs in float
    (shared-weight) or that the file computes of less (computed-weight); what the options exclude
    (excluded). A model that is quantized already (already-quantized) or older than opset 13
    (old-opset) is left alone as a whole, and so is every one with 16-bit activations unless slower
    results are allowed, as for an accelerator (no-16-bit-kernel).
    Numerics: lossy.
    """

    name = "quant"
    noun = "integer operators"
    makes_integers = True
    goals = ("min_sqnr", "in_float")
    aims = ("min_sqnr",)
    weights_of = ("Conv", "Gemm", "MatMul")
    appetite = 0.3
    may_change = Facet.TOPOLOGY | Facet.WEIGHTS | Facet.NAMES | Facet.TYPES | Facet.STORAGE
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
        "or the table unless its choice takes another time here, or is none (auto).",
        choices=("auto", "table", "measured"),
    )
    noise_price: float = option(
        0.06,
        help="Share of the time to give up to lower the output noise by a factor e, down to 25 "
        "dB of SQNR; below that at least what the knee of the trade-off asks for, unless "
        "--max-drop says what may be lost. 0 takes the fastest. Where only weights get smaller, "
        "that is worth a hundredth of the time.",
        at_least=0.0,
        at_most=10.0,
    )
    min_sqnr: float | None = option(
        None,
        help="Signal over noise that the outputs are expected to keep, in dB: the fastest choice "
        "that has it, in place of the one that noise_price finds; 20 is coarse, 40 is fine.",
        at_least=0.0,
        at_most=100.0,
    )
    in_float: tuple[str, ...] = option(
        (),
        help="Patterns of node names that compute in float, and everything else that can in "
        "integers, in place of a choice; their weights may still be stored as int8.",
    )
    keep_slower: bool = option(
        False,
        help="Quantize everything that has an integer kernel. The result may be slower, as with "
        "--allow-slower.",
    )
    op_types: tuple[str, ...] = option((), help="Operator types to quantize; empty means all.")
    exclude: tuple[str, ...] = option((), help="Patterns of node names to leave in float.")
    exclude_ops: tuple[str, ...] = option((), help="Operator types to leave in float.")

    def __post_init__(self) -> None:
        """Check ranges, and options that contradict each other."""
        super().__post_init__()
        by_name, by_noise = bool(self.in_float), self.min_sqnr is not None
        if by_name + by_noise + self.keep_slower > 1 or (by_noise and not self.noise_price):
            others = "min_sqnr, in_float, keep_slower and noise_price=0"
            msg = f"quant: {others} each say what becomes integers; leave all but one of them out"
            raise OptionError(msg)

    def lowest_opset(self) -> int:
        """Return the first opset whose QuantizeLinear has the types asked for."""
        return 21 if self.activations.endswith("16") else 0

    def observers(self, model: Model) -> Observers:
        """Ask for a histogram of every activation that may become integers."""
        if not matching.is_eligible(model):
            return {}
        units = self._find(model)
        return matching.observers_of(units, means=self.bias_correction)

    def run(self, model: Model, ctx: Context) -> Outcome:
        """Quantize."""
        if not self._may_run(model, ctx):
            return Outcome()
        return in_float32(model, ctx, super().run)

    def preview(self, model: Model, ctx: Context) -> Outcome:
        """Count the operators with integer kernels; which of them pay is for the data to say."""
        if not self._may_run(model, ctx):
            return Outcome()
        units = self._find(widened(model), ctx.skip)
        if not units:
            ctx.remark(Severity.DECLINED, "nothing-to-quantize", _NOTHING)
        kinds = Counter(f"{unit.node.op_type} that may become int8" for unit in units)
        return Outcome(counts=dict(sorted(kinds.items())))

    def _may_run(self, model: Model, ctx: Context) -> bool:
        """Whether the model is one to quantize; if not, says why."""
        is_16_bit = self.activations.endswith("16")
        found = matching.reason_against(model, self.activations if is_16_bit else "", ctx)
        if found is not None:
            ctx.remark(Severity.DECLINED, *found)
        return found is None

    def _find(self, model: Model, skip: matching.Skip = lambda *_: None) -> list[Unit]:
        return matching.find_units(
            model, skip, exclude=self.exclude, exclude_ops=self.exclude_ops, op_types=self.op_types
        )

    def _rounding(self, target: Target) -> GridRounding:
        return GridRounding(
            calibration=self.calibration,
            percentile=self.percentile,
            dtype=target.activation_dtype if self.activations == "auto" else self.activations,
            symmetric=self.symmetric,
            seven=self.weight_bits == "7",
            careful=self.weight_bits == "auto" and target.saturates,
            per_channel=self.per_channel,
            bias_correction=self.bias_correction,
        )

    def propose(self, model: Model, ctx: Context) -> Placements:
        """Find the placements that are worth having, and the weights that may be stored."""
        excluded: list[Node] = []

        def skip(node: Node, code: str, why: str) -> None:
            ctx.skip(node, code, why)
            if code == "excluded":
                excluded.append(node)

        units = self._find(model, skip)
        chooser = None
        if units:
            found = candidates(model, units, excluded, self._rounding(ctx.target), ctx)
            chooser = Chooser(*found, self.costs, self.noise_price, ctx)
        matching.check_left(model, self.in_float, ctx)
        given = self.in_float or (() if self.keep_slower else None)
        choosing = chooser.choose(given) if chooser is not None else None
        if not units:
            ctx.remark(Severity.DECLINED, "nothing-to-quantize", _NOTHING)
        without = {id(n) for n in excluded}
        storable = Storable(model, without, ctx) if self.rest == "int8" else None
        limits = {"hurried": ctx.allowance.asks_for_speed, "searched": given is None}
        return Placements(chooser, choosing, storable, self.noise_price, **limits)

    def asked(self, proposal: Placements) -> Plan:
        """Return the best exchange of time for noise, or the fastest one with as little of it."""
        return proposal.asked() if self.min_sqnr is None else proposal.keeping(self.min_sqnr)

    def retreats(
        self, model: Model, proposal: Placements, chosen: Chosen, verdict: Verdict, ctx: Context
    ) -> Iterator[Plan]:
        """Yield plans with fewer and fewer integers, the last one with none."""
        refused = proposal.made(chosen.plan)
        assert proposal.chooser is not None
        assert refused is not None
        for fewer in proposal.chooser.warier(refused, verdict.message):
            proposal.choosing = fewer
            yield self.asked(proposal)
        proposal.choosing = replace(refused, refused=refused.placement, why=verdict.message)
        yield proposal.plan(None)

    def build(self, model: Model, plan: Plan, ctx: Context, *, fit: bool) -> Quantized:
        """Make integers of what was chosen, and store the weights of the rest."""
        edit = plan[INTEGERS].edit if INTEGERS in plan else None
        scheme, fits = Scheme(), dict[int, Reconstruction]()
        built = model.clone()
        if isinstance(edit, ToIntegers):
            units = edit.units(model)
            scheme = edit.scheme(units)
            if fit and self.fit == "gptq":
                fits = refit(edit.draft(model, units, scheme), units, scheme, edit.rounding, ctx)
            built = edit.draft(model, units, scheme).model
        names = plan.keys() - {INTEGERS}
        rows = store_named(built, names) if names else []
        return Quantized(built, {}, frozenset(plan), scheme, fits, rows)

    def finish(self, model: Model, proposal: Placements, chosen: Chosen, ctx: Context) -> Outcome:
        """Say of each operator what became of it, and change the model."""
        plan, made = chosen.plan, chosen.built or Quantized(model)
        assert isinstance(made, Quantized)
        choosing, report, counts = proposal.made(plan), dict[str, Any](), Counter[str]()
        if choosing is not None and proposal.chooser is not None:
            statistics = proposal.chooser.drafter.statistics
            report = tables.details(choosing, made.scheme, made.rounding, statistics, ctx.target)
            counts.update(f"int8 {u.node.op_type}" for u in choosing.placement.chosen)
            if counts:
                counts["left in float"] = choosing.placement.choices.count(Choice.FLOAT)
            remark_on(choosing, ctx)
        if proposal.storable is not None:
            kept = proposal.storable.remark(proposal.integers(plan), plan)
            counts["weights kept in float"] = kept
        if made.stored:
            counts["weights stored as int8"], report["stored"] = len(made.stored), made.stored
        if chosen.built is None:
            return Outcome(counts={k: n for k, n in counts.items() if n}, details=report)
        model.become(made.model)
        facets = self.may_change if INTEGERS in plan else self.may_change & ~Facet.TYPES
        return Outcome(facets, {k: n for k, n in sorted(counts.items()) if n}, report)
