"""Weights in fewer bits, activations in float."""

from __future__ import annotations

from collections import Counter
from typing import ClassVar

from ocompress.diagnostics import Severity
from ocompress.errors import OptionError
from ocompress.ir import Facet, Model
from ocompress.lossy import KEEP, LossyPass, Move, MoveTable, Plan, TableProposal, costs_alone
from ocompress.lossy.engine import Chosen, Reason
from ocompress.lossy.layer_weights import is_quantized
from ocompress.pipeline import Context, Limit, Outcome, option
from ocompress.pipeline.naming import check_known
from passes import order
from passes.quantization import weight_report, weight_sites
from passes.quantization.blockwise import BlockGrid
from passes.quantization.weight_emit import CONTRIB
from passes.quantization.weight_forms import (
    BITS,
    BLOCKS,
    FORMS,
    HALVES,
    NOTES,
    Effect,
    Role,
    lowest_opset,
)
from passes.quantization.weight_moves import (
    Stored,
    StoreWeight,
    sites_of,
    store,
    too_slow,
)
from passes.quantization.weight_site import SiteRules
from passes.quantization.widening import in_float32

_TOO_LOSSY = Reason("too-lossy", "with its weight in fewer bits, too, the limit would not hold")


class QuantWeights(LossyPass):
    """Store weights in 16, 8, 4 or 2 bits while activations stay in float.

    Before: y = MatMul(x, W); z = Gather(T, ids)
    After:  y = MatMul(x, DequantizeLinear(W4, scales, zero_points))
            z = DequantizeLinear(Gather(T4, ids), Gather(scales, ids), Gather(zero_points, ids))
    fp16, bf16: y = MatMul(x, Cast(W16)); z = Cast(Gather(T16, ids))
    kernel=matmulnbits: y = MatMulNBits(x, W4, scales, zero_points), which is not standard ONNX
    kernel=fold: y = Conv(x, Mul(Cast(W8), scales)), of any operator with weights
    All three of these take large constants of other operators too, y = Add(x, Cast(P16)).

    Disk, memory and latency are three different things, and the report has a column for each.
    ONNX Runtime widens fp16, bf16 and what kernel=fold stores at load (folded at load), so that
    only the file is smaller, and nothing is slower.
    It makes a DequantizeLinear and the one MatMul or Gemm after it a MatMulNBits, which keeps
    the integers in memory, and which rounds its inputs to int8 unless the session says
    otherwise. A Gemm gets its weight untransposed, and before a Relu or Clip its bias as a separate
    Add, because only then it fuses. Tables of 1 MiB and more are widened after the look-up,
    row by row; smaller ones at load, for that takes no operators on every run. MatMulNBits itself
    is not standard ONNX (not-standard-onnx), and with 2 or 8 bits it is fast only at accuracy
    level 4 (slow-kernel). Where matrices of integers are slower here than a limit on the latency
    allows, all is folded instead (does-not-pay).
    `gptq` lets later inputs compensate for the rounding of earlier ones and needs calibration data;
    tables, convolutions and inputs that no data reached (not-observed) are rounded to nearest.
    A model that computes in 16-bit floats computes in float32 then (computes-in-float32).
    `hqq` needs no data. A weight that several operators share is stored once.

    Weights that no kernel reads in integers (those of the codes marked * below: kernels of
    convolutions, weights of recurrent layers, tables that are also the last layer, stacks of
    experts) are folded with `kernel=auto`, in as many bits, and so are stacks and tables of which
    GatherND, Slice or Split take parts. Below 8 bits that takes opset 11, and kernels and recurrent
    layers are taken only where `op_types` names them: they mind the rounding more than matrices.

    Leaves alone: weights that would be dequantized on every run (dequantized-every-run*), unless
    `keep_slower`; small ones (too-small); ones that would take more bytes with their scales
    (larger); other types (not-float32); NaN and infinities (not-finite); elements beyond float16
    (out-of-range); computed ones (dynamic-weight); quantized ones (already-quantized); stacks of
    matrices and left factors (not-a-matrix*); look-ups of anything but rows (not-a-table*); rows
    that do not fill bytes (not-divisible*); what something else needs in float (shared-weight*);
    what is excluded (excluded); ConvTranspose and recurrent operators (no-integer-form*); Gemms
    that MatMulNBits cannot do (scaled-gemm); what a limit on the drop (`--max-drop`) rules out,
    where no option says what to store (too-lossy), or with what no model runs (no-longer-runs).
    Models too old for the form (old-opset). With `kernel=dequantize` convolutions are taken only
    where `op_types` names them, and are then slower (dequantized-every-run). A model without any of
    the operators (nothing-to-store).
    Numerics: lossy.
    Reference: Frantar et al., GPTQ, 2022; Badri and Shaji, Half-Quadratic Quantization, 2023.
    """

    name = "quant-weights"
    noun = "weights in fewer bits"
    saves_time = False
    weights_of = ("Conv", "ConvTranspose", "Gather", "Gemm", "MatMul")
    goals: ClassVar[tuple[str, ...]] = ("form", "block", "kernel")
    appetite = 0.3
    may_change = Facet.TOPOLOGY | Facet.WEIGHTS | Facet.NAMES | Facet.OPSET | Facet.STORAGE
    after = (*order.TO_QUANTIZE, "quant", "quant-dynamic")

    form: str = option("int8", help="Storage format of the weights.", choices=FORMS)
    block: int | None = option(
        None,
        help="Inputs that share a scale: 16, 32, 64, 128 or 256; 0 = a whole output channel; "
        "none: 0 for int8, 32 below and in MatMulNBits.",
        at_least=0,
    )
    fit: str = option(
        "rtn",
        help="How weights are rounded: to nearest (rtn), by second order on data (gptq), "
        "robustly without data (hqq).",
        choices=("rtn", "gptq", "hqq"),
    )
    symmetric: bool | None = option(
        None, help="Whether integers are signed, without zero points; none: only for int8."
    )
    op_types: tuple[str, ...] = option(
        (),
        help="Operators whose weights to store; empty means all that have weights, and for int4, "
        "int2 and other kernels than auto and fold MatMul, Gemm and Gather.",
    )
    exclude: tuple[str, ...] = option((), help="Globs of node names to leave alone.")
    smallest: int = option(512, help="Leave weights with fewer elements alone.", at_least=0)
    keep_slower: bool = option(
        False, help="Also store weights that have to be dequantized on every run."
    )
    kernel: str = option(
        "auto",
        help="DequantizeLinear (dequantize), com.microsoft operators that only ONNX Runtime has "
        "(matmulnbits), or what runtimes fold at load (fold); auto: dequantize, or fold where no "
        "kernel reads integers, or they are measured to be slower than float.",
        choices=("auto", "dequantize", "matmulnbits", "fold"),
    )
    accuracy_level: int | None = option(
        None,
        help="What MatMulNBits computes in: 0 = the runtime's choice, 1 = float32, 2 = float16, "
        "3 = bfloat16, 4 = int8; none: 4, because the others are slow on 2 and 8 bits.",
        at_least=0,
        at_most=4,
    )

    def __post_init__(self) -> None:
        """Check ranges, and options that contradict each other."""
        super().__post_init__()
        allowed = BLOCKS if self.is_contrib else (0, *BLOCKS)
        if self.block is not None and self.block not in allowed:
            msg = f"quant-weights: block={self.block} is none of {', '.join(map(str, allowed))}"
            raise OptionError(msg)
        check_known(self.op_types, weight_sites.OP_TYPES, self.name, "op_types")
        if self.accuracy_level is not None and not self.is_contrib:
            msg = (
                "quant-weights: accuracy_level is an attribute of MatMulNBits; give "
                "kernel=matmulnbits, or set session.qdq_matmulnbits_accuracy_level where you run"
            )
            raise OptionError(msg)
        if self.kernel == "fold" and (self.form in HALVES or self.fit == "gptq"):
            msg = "quant-weights: kernel=fold stores int8, int4 and int2, with fit=rtn or fit=hqq"
            raise OptionError(msg)
        if self.form in HALVES and (self.fit != "rtn" or self.is_contrib):
            msg = f"quant-weights: form={self.form} has no fit and no kernel to choose"
            raise OptionError(msg)

    @property
    def is_contrib(self) -> bool:
        """Whether matrices become operators that only ONNX Runtime has."""
        return self.kernel == "matmulnbits"

    def lowest_opset(self) -> int:
        """Return the first opset that has the types asked for."""
        if self.form in HALVES or self.is_contrib or self.kernel == "fold":
            return 0
        return lowest_opset(self.form, Role.MATRIX, self.grid(Role.MATRIX).block, self.kernel)[0]

    def domains(self) -> frozenset[str]:
        """Return the domain of MatMulNBits, where that is asked for."""
        return frozenset({CONTRIB} if self.is_contrib else ())

    def grid(self, role: Role) -> BlockGrid:
        """Return the integers of a weight, for the integer forms."""
        symmetric = self.form == "int8" if self.symmetric is None else self.symmetric
        narrow = self.form != "int8" or (self.is_contrib and role is Role.MATRIX)
        block = (32 if narrow else 0) if self.block is None else self.block
        if role is Role.KERNEL:
            block = 0  # the taps of a channel are few
        return BlockGrid(BITS.get(self.form, 8), block, symmetric)

    def run(self, model: Model, ctx: Context) -> Outcome:
        """Store every weight that may be in the form asked for.

        Raises:
            OptionError: If a pattern matches nothing.
            DataError: If `gptq` has no calibration data.
        """
        if self.form in HALVES:
            return super().run(model, ctx)
        return in_float32(model, ctx, self._run)

    def _run(self, model: Model, ctx: Context) -> Outcome:
        """Store weights as integers, in the form that is widened at load where others are slow."""
        rules, item = self._rules(ctx), self
        if too_slow(self, model, rules, ctx):
            settings = {**self.settings(), "kernel": "fold", "op_types": rules.op_types}
            item = _InsteadOfSlow(**settings)
        return super(QuantWeights, item).run(model, ctx)

    def propose(self, model: Model, ctx: Context) -> TableProposal:
        """Find the weights, and what each costs where a limit says how many are stored."""
        rules = self._rules(ctx)
        sites = sites_of(self, model, rules, ctx.skip)
        self._remark_on_rest(model, rules, ctx)
        edits = {part: StoreWeight(self, rules, part) for part in sites}
        searched = ctx.allowance.has(Limit.DROP) and ctx.has_data and not self.has_goal
        costs = costs_alone(model, edits, ctx) if searched else {}
        table = MoveTable()
        for part, site in sites.items():
            size = site.array.size
            bits = 16 if self.form in HALVES else BITS[self.form]
            table.add(Move(part, KEEP, "", 0.0, site.array.nbytes, 0.0))
            row = (costs.get(part, 0.0), size * bits // 8, 0.0)
            table.add(Move(part, self.form, f"{bits} bits", *row, edit=edits[part]))
        found = TableProposal(
            {p: [n.label for n in s.nodes] for p, s in sites.items()}, table, "bytes"
        )
        found.least, found.hopeful = 0.0, True
        return found

    def asked(self, proposal: TableProposal) -> Plan:
        """Store every weight that may be in the form asked for."""
        return proposal.plan(dict.fromkeys(proposal.table.rows, 1))

    def build(self, model: Model, plan: Plan, ctx: Context, *, fit: bool) -> Stored:
        """Store the weights of a plan."""
        return store(self, model.clone(), self._rules(ctx), plan, ctx if fit else None)

    def finish(
        self, model: Model, proposal: TableProposal, chosen: Chosen, ctx: Context
    ) -> Outcome:
        """Say of every weight what became of it, and change the model."""
        made = chosen.built or Stored(model)
        assert isinstance(made, Stored)
        sites = sites_of(self, model, self._rules(ctx))
        for part in proposal.layers.keys() - chosen.plan.keys():
            reason = proposal.reasons.get(part, _TOO_LOSSY)
            for node in sites[part].nodes:
                ctx.skip(node, reason.code, reason.why)
        there = [site for part, site in sites.items() if part in chosen.plan]
        for site, row in zip(there, made.rows, strict=True):
            weight_report.remark(self, site, row, ctx)
        if chosen.built is None:
            return Outcome()
        model.become(made.model)
        facets = self.may_change if made.newer else self.may_change & ~Facet.OPSET
        effects = Counter(r["latency"] for r in made.rows)
        counts = {f"{self.form} weights": len(made.rows), **dict(sorted(effects.items()))}
        notes = {str(e): NOTES[e] for e in Effect if e in effects}
        return Outcome(facets, counts, {"form": self.form, "weights": made.rows, "notes": notes})

    def _rules(self, ctx: Context) -> SiteRules:
        every = self.form in HALVES or self.kernel == "fold"
        every |= self.form == "int8" and self.kernel == "auto"
        default = weight_sites.OP_TYPES if every else ("MatMul", "Gemm", "Gather")
        return SiteRules(
            form=self.form,
            blocks={role: self.grid(role).block for role in Role},
            op_types=self.op_types or default,
            exclude=self.exclude,
            smallest=self.smallest,
            kernel=self.kernel,
            keep_slower=ctx.allows_slower,
        )

    def _remark_on_rest(self, model: Model, rules: SiteRules, ctx: Context) -> None:
        """Say of every node with weights that no option names why they stay in float."""
        ops = Counter(node.op_type for _, node in model.nodes() if not node.domain)
        others = [t for t in weight_sites.OP_TYPES if t not in rules.op_types]
        for _, node in model.nodes() if not self.op_types else ():
            if node.op_type in others and is_quantized(node):
                ctx.skip(node, "already-quantized", "its weight is quantized already")
            elif node.is_op("Conv") and "Conv" in others:
                why = "it stays in float, for ONNX Runtime would dequantize its weight on every run"
                why += "; `quant` makes it faster, kernel=fold smaller"
                ctx.skip(node, "dequantized-every-run", why)
            elif node.is_op(*weight_sites.NO_INTEGERS) and node.op_type in others:
                why = f"no kernel reads integers of a {node.op_type}; kernel=fold makes it smaller"
                ctx.skip(node, "no-integer-form", why)
        if not ops["Conv"] and not any(ops[op_type] for op_type in rules.op_types):
            why = f"the model has no {', '.join(rules.op_types)}"
            ctx.remark(Severity.DECLINED, "nothing-to-store", why)


class _InsteadOfSlow(QuantWeights):
    """Folds weights whose own kernel is too slow, which no option asked for."""

    goals = ("form", "block")
