"""Static quantization to 8-bit integers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ocompress.analysis import calibrators
from ocompress.analysis.ranges import Histogram
from ocompress.analysis.statistics import Statistics, Wishes
from ocompress.diagnostics import Severity
from ocompress.ir import Facet, Model, Node
from ocompress.pipeline import Context, Numerics, Outcome, Pass, option
from ocompress.planning import Choice
from ocompress.targets import Target
from passes.quantization import plan, tables
from passes.quantization.emit import Emitter
from passes.quantization.grids import assign_grids, integer_values
from passes.quantization.placement import Placement, place
from passes.quantization.reconstruct import Reconstruction
from passes.quantization.refit import Draft, refit
from passes.quantization.scheme import Grid, Scheme, least_weight_scales
from passes.quantization.storing import store_rest
from passes.quantization.units import Unit
from passes.quantization.weights import (
    QuantizedWeight,
    WeightGrid,
    correct_bias,
    quantize_weight,
)


class Quant(Pass):
    """Quantize weights and activations to int8 where the integer kernels of ONNX Runtime pay.

    Before: y = Relu(Conv(x, W, b))
    After:  y = DQ(Q(Relu(Conv(DQ(Q(x)), DQ(W8), DQ(b32)))))
    ONNX Runtime turns such a pattern into one integer operator. Weights are symmetric with a
    scale per output channel and replace the float ones; activations are affine with one scale;
    biases are int32 at the product of both scales. Which operators become integer ones is the
    choice with the least predicted time for the target, exactly, by a minimum cut.
    Weights of what stays in float are int8 in the file and float again once it is loaded, which
    costs no time: y = Conv(x, Mul(Cast(W8), scales)).
    Unless the target rules it out (`x86-vnni`, `arm64`), weights avoid the few values that could
    clip on x86-64 without VNNI, which keeps results equal on every machine.
    Leaves alone: what would not be faster (does-not-pay); operators without an integer kernel
    (no-int8-kernel), with computed weights or biases (dynamic-weight, dynamic-bias, odd-bias),
    with alpha or beta (scaled-gemm); other types than float32 (not-float32, not-float); values that
    no data reached (not-observed) or that are not finite (not-finite); weights that another node
    needs in float (shared-weight); what the options exclude (excluded). A model that is quantized
    already (already-quantized) or older than opset 13 (old-opset) is left alone as a whole.
    Numerics: lossy.
    """

    name = "quant"
    numerics = Numerics.LOSSY
    may_change = Facet.TOPOLOGY | Facet.WEIGHTS | Facet.NAMES
    after = ("prune",)
    needs_data = True

    calibration: str = option(
        "auto",
        help="How the range of an activation is chosen from its histogram.",
        choices=("auto", "minmax", "percentile", "entropy", "mse"),
    )
    percentile: float = option(
        99.999,
        help="Per cent of the elements that `percentile` keeps on either side.",
        at_least=50.0,
        at_most=100.0,
    )
    activations: str = option(
        "auto",
        help="Type of activations; auto asks the target. Less of int8 fuses on x86-64.",
        choices=("auto", "uint8", "int8"),
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
        help="How integers of weights are chosen: nearest (rtn), or by second order so that a "
        "layer makes up for the ones before it, as data show (gptq).",
        choices=("gptq", "rtn"),
    )
    bias_correction: bool = option(True, help="Whether biases make up for the mean weight error.")
    rest: str = option(
        "int8",
        help="How weights of what stays in float are stored: int8 that is float again once "
        "loaded, or float.",
        choices=("int8", "float"),
    )
    keep_slower: bool = option(
        False, help="Quantize everything that has an integer kernel, even if that is slower."
    )
    op_types: tuple[str, ...] = option((), help="The only operator types to quantize; empty: all.")
    exclude: tuple[str, ...] = option((), help="Patterns of node names to leave in float.")
    exclude_ops: tuple[str, ...] = option((), help="Operator types to leave in float.")

    def wishes(self, model: Model) -> Wishes:
        """Ask for a histogram of every activation that may become integers."""
        if not _is_eligible(model):
            return {}
        units = self._find(model, lambda *_: None)
        return plan.wishes_of(units, means=self.bias_correction)

    def run(self, model: Model, ctx: Context) -> Outcome:
        """Quantize."""
        if model.opset and model.opset < 13:
            why = f"opset {model.opset} has no scales per channel; canonicalize upgrades it to 13"
            ctx.remark(Severity.DECLINED, "old-opset", why)
        elif not _is_eligible(model):
            why = "the model has quantized operators already; quantize the float model instead"
            ctx.remark(Severity.DECLINED, "already-quantized", why)
        else:
            return self._quantize(model, ctx)
        return Outcome()

    def _find(self, model: Model, skip: plan.Skip) -> list[Unit]:
        return plan.find_units(
            model,
            skip,
            exclude=self.exclude,
            exclude_ops=self.exclude_ops,
            op_types=self.op_types,
        )

    def _quantize(self, model: Model, ctx: Context) -> Outcome:
        excluded: list[Node] = []

        def skip(node: Node, code: str, why: str) -> None:
            ctx.skip(node, code, why)
            if code == "excluded":
                excluded.append(node)

        units = self._find(model, skip)
        if not units:
            why = "the model has no operator with an integer kernel"
            ctx.remark(Severity.DECLINED, "nothing-to-quantize", why)
            return self._with_rest(model, excluded, Outcome())
        statistics = ctx.statistics(model, plan.wishes_of(units, means=self.bias_correction))
        units = plan.observed(units, statistics, ctx.skip)
        samples = max(1, ctx.data.samples)
        sizes = {n: s.elements / samples for (n, w), s in statistics.items() if w == plan.HISTOGRAM}
        placement = place(
            units,
            lambda v: float(v.constant.size) if v.constant is not None else sizes[v.name],
            ctx.target,
            pay=not self.keep_slower,
        )
        tables.remark_on(placement, ctx)
        if placement.chosen:
            outcome = self._rewrite(model, placement, statistics, ctx, excluded)
        else:
            outcome = Outcome(details=tables.details(placement, Scheme(), {}, {}, ctx.target))
        return self._with_rest(model, excluded, outcome)

    def _with_rest(self, model: Model, excluded: Sequence[Node], done: Outcome) -> Outcome:
        """Store the weights that stay in float, but for those of excluded operators."""
        rows = [] if self.rest == "float" else store_rest(model, {id(n) for n in excluded})
        if not rows:
            return done
        counts = {**done.counts, "weights stored as int8": len(rows)}
        facets = done.changed | Facet.TOPOLOGY | Facet.WEIGHTS | Facet.NAMES
        return Outcome(facets, dict(sorted(counts.items())), {**done.details, "stored": rows})

    def _rewrite(
        self,
        model: Model,
        placement: Placement,
        statistics: Statistics,
        ctx: Context,
        excluded: Sequence[Node],
    ) -> Outcome:
        chosen = placement.chosen
        histograms = {
            v.name: statistics[v.name, plan.HISTOGRAM] for v in integer_values(chosen).values()
        }
        ranges = {name: self._range(h) for name, h in histograms.items()}
        scheme = self._scheme(chosen, ranges, statistics, ctx.target)
        fits: dict[int, Reconstruction] = {}
        if self.fit == "gptq":
            draft = self._draft(model, chosen, excluded, ranges, statistics, ctx.target)
            limit = 64 if self.weight_bits == "7" else 127
            fits = refit(draft, chosen, scheme, limit, self._careful(ctx.target), ctx)
        report = tables.details(placement, scheme, fits, histograms, ctx.target)
        Emitter(model, chosen, scheme, excluded).run()
        counts = Counter(f"int8 {u.node.op_type}" for u in chosen)
        left = sum(c is Choice.FLOAT for c in placement.choices)
        if left:
            counts["left in float"] = left
        return Outcome(
            Facet.TOPOLOGY | Facet.WEIGHTS | Facet.NAMES, dict(sorted(counts.items())), report
        )

    def _scheme(
        self,
        units: list[Unit],
        ranges: Mapping[str, tuple[float, float]],
        statistics: Statistics,
        target: Target,
    ) -> Scheme:
        dtype = target.activation_dtype if self.activations == "auto" else self.activations
        grids = assign_grids(units, ranges, dtype, symmetric=self.symmetric)
        weights = self._weights(units, grids, target)
        return Scheme(grids, weights, self._biases(units, weights, statistics))

    def _draft(
        self,
        model: Model,
        units: list[Unit],
        excluded: Sequence[Node],
        ranges: Mapping[str, tuple[float, float]],
        statistics: Statistics,
        target: Target,
    ) -> Draft:
        """Quantize a clone with weights rounded to nearest."""
        clone = model.clone()
        nodes = {id(old): new for (_, old), (_, new) in zip(model.nodes(), clone.nodes())}
        by_node = {id(u.node): u for u in self._find(clone, lambda *_: None)}
        twins = [by_node[id(nodes[id(u.node)])] for u in units]
        scheme = self._scheme(twins, ranges, statistics, target)
        Emitter(clone, twins, scheme, [nodes[id(n)] for n in excluded]).run()
        return Draft(clone, twins)

    def _range(self, histogram: Histogram) -> tuple[float, float]:
        if self.calibration == "percentile":
            return calibrators.percentile(histogram, self.percentile)
        if self.calibration == "minmax":
            return calibrators.minmax(histogram)
        if self.calibration == "entropy":
            return calibrators.entropy(histogram, self.symmetric)
        return calibrators.mse(histogram, self.symmetric)

    def _weights(
        self, units: list[Unit], grids: Mapping[int, Grid], target: Target
    ) -> dict[int, QuantizedWeight]:
        least: dict[int, np.ndarray] = {}
        for unit in units:
            bias = _bias(unit)
            if unit.weight is not None and bias is not None:
                floor = least_weight_scales(bias, grids[id(unit.data[0][1])].scale)
                key = id(unit.weight)
                least[key] = np.maximum(least[key], floor) if key in least else floor
        found: dict[int, QuantizedWeight] = {}
        for unit in units:
            key = id(unit.weight)
            if unit.weight is None or unit.weight.constant is None or key in found:
                continue
            found[key] = quantize_weight(
                unit.weight.constant,
                unit.axis,
                self._weight_grid(unit, target),
                orders=unit.orders,
                per_channel=self.per_channel,
                least_scales=least.get(key),
            )
        return found

    def _weight_grid(self, unit: Unit, target: Target) -> WeightGrid:
        if self.weight_bits == "7":
            return WeightGrid.SEVEN
        careful = self._careful(target) and not unit.depthwise
        return WeightGrid.PAIRS if careful else WeightGrid.FULL

    def _careful(self, target: Target) -> bool:
        return self.weight_bits == "auto" and target.saturates

    def _biases(
        self, units: list[Unit], weights: Mapping[int, QuantizedWeight], statistics: Statistics
    ) -> dict[int, np.ndarray]:
        found: dict[int, np.ndarray] = {}
        for unit in units:
            if unit.weight is None or unit.weight.constant is None or unit.rule.bias is None:
                continue
            bias = _bias(unit)
            means = None
            if self.bias_correction:
                means = statistics.get((unit.data[0][1].name, plan.mean_wish(unit)))
            if means is not None:
                weight = weights[id(unit.weight)]
                raised = correct_bias(
                    unit.weight.constant, weight.dequantize(), means, unit.axis, unit.groups
                )
                bias = raised if bias is None else bias.astype(np.float64) + raised
            if bias is not None:
                found[id(unit.node)] = bias
        return found


def _is_eligible(model: Model) -> bool:
    quantized = any(node.is_op(*plan.QUANTIZED_OPS) for _, node in model.nodes())
    return not quantized and (model.opset >= 13 or model.opset == 0)


def _bias(unit: Unit) -> np.ndarray | None:
    value: Any = None if unit.rule.bias is None else unit.node.input(unit.rule.bias)
    return None if value is None else value.constant
