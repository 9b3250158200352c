"""Finding the units of a model: what could become an integer operator, and what cannot."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase

import numpy as np

from ocompress.analysis.linear_layer import Refusal
from ocompress.analysis.ranges import ChannelMeans, Histogram, HistogramObserver
from ocompress.analysis.statistics import Observer, Statistics
from ocompress.diagnostics import Severity
from ocompress.errors import OptionError
from ocompress.ir import Model, Node
from ocompress.pipeline import Context
from ocompress.pipeline.naming import check_patterns, matches
from passes.quantization.rules import NO_KERNEL, RULES
from passes.quantization.units import Unit, has_activation, match

Skip = Callable[[Node, str, str], None]
"""Takes a node that is left alone, a code and a sentence."""

HISTOGRAM = HistogramObserver()
QUANTIZED_OPS: frozenset[str] = frozenset(
    {
        "ConvInteger",
        "DequantizeLinear",
        "DynamicQuantizeLinear",
        "MatMulInteger",
        "QLinearConv",
        "QLinearMatMul",
        "QuantizeLinear",
    }
)


def find_units(
    model: Model,
    skip: Skip,
    *,
    exclude: Sequence[str] = (),
    exclude_ops: Sequence[str] = (),
    op_types: Sequence[str] = (),
) -> list[Unit]:
    """Return the operators of a model that have integer kernels, in graph order.

    Args:
        model: Not changed.
        skip: Told about operators that one would expect to be units.
        exclude: Patterns of node names to leave alone.
        exclude_ops: Operators to leave alone.
        op_types: The only operators to take; empty takes all.

    Raises:
        OptionError: If a pattern matches no node or an operator has no rule.
    """
    check_names(model, exclude, exclude_ops, op_types)
    found = []
    for graph, node in model.nodes():
        if node.is_op(*NO_KERNEL):
            skip(node, "no-int8-kernel", f"ONNX Runtime has no integer kernel for {node.op_type}")
        if not node.is_op(*RULES) or not has_activation(node):
            continue
        if node.op_type in exclude_ops or (op_types and node.op_type not in op_types):
            skip(node, "excluded", "its operator type is excluded")
            continue
        if any(fnmatchcase(node.label, pattern) for pattern in exclude):
            skip(node, "excluded", "its name is excluded")
            continue
        unit = match(node, graph)
        if isinstance(unit, Refusal):
            skip(node, unit.code, unit.why)
        else:
            found.append(unit)
    return found


def check_names(
    model: Model, exclude: Sequence[str], exclude_ops: Sequence[str], op_types: Sequence[str]
) -> None:
    """Check that options name something.

    Raises:
        OptionError: Naming the nearest spelling.
    """
    check_patterns(model, exclude, "quant")
    for name in (*exclude_ops, *op_types):
        if name not in RULES:
            near = difflib.get_close_matches(name, RULES, 1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            msg = f"quant: {name!r} is not an operator it quantizes{hint} ({', '.join(RULES)})"
            raise OptionError(msg)


def observers_of(units: Sequence[Unit], *, means: bool) -> dict[str, frozenset[Observer]]:
    """Return the statistics that units need: histograms, and means of what weights multiply."""
    wanted: dict[str, set[Observer]] = {}
    for unit in units:
        for value in (*(v for _, v in unit.data), *unit.outputs):
            wanted.setdefault(value.name, set()).add(HISTOGRAM)
        if means and unit.weight is not None and unit.rule.bias is not None:
            wanted[unit.data[0][1].name].add(mean_observer(unit))
    return {name: frozenset(observers) for name, observers in wanted.items()}


def mean_observer(unit: Unit) -> ChannelMeans:
    """Return the observer for the mean of each input channel of a unit with a weight."""
    return ChannelMeans(1 if unit.node.is_op("Conv") else -1)


def observed(units: Sequence[Unit], statistics: Statistics, skip: Skip) -> list[Unit]:
    """Return the units whose activations were all seen and are finite float32 numbers."""
    kept = []
    for unit in units:
        problem = None
        for value in (*(v for _, v in unit.data), *unit.outputs):
            histogram = statistics.get((value.name, HISTOGRAM))
            problem = problem or _problem(value.name, histogram)
        for _, value in unit.operands:
            if value.constant is not None:
                problem = problem or _problem(value.name, _histogram(value.constant))
        if problem is None:
            kept.append(unit)
        else:
            skip(unit.node, *problem)
    return _with_whole_weights(kept, skip)


def _histogram(constant: np.ndarray) -> Histogram | None:
    seen = HISTOGRAM.start()
    seen.update(constant)
    found: Histogram | None = seen.result()
    return found


def _problem(name: str, histogram: Histogram | None) -> tuple[str, str] | None:
    if histogram is None:
        return "not-observed", f"no calibration data reached {name!r}"
    if not histogram.finite:
        return "not-finite", f"{name!r} has NaN or infinite elements on the calibration data"
    if histogram.dtype != "float32":
        return "not-float32", f"{name!r} is {histogram.dtype}; only float32 is quantized"
    if histogram.is_torn:
        return "too-wide", f"no 256 levels hold both the large and the small elements of {name!r}"
    return None


def _with_whole_weights(units: Sequence[Unit], skip: Skip) -> list[Unit]:
    """Leave out units that share a weight with a reader that needs it in float."""
    roles: Mapping[tuple[int, int], tuple[str, int]] = {
        (id(u.node), u.rule.weight): (_role(u), u.axis)
        for u in units
        if u.weight is not None and u.rule.weight is not None
    }
    found: dict[int, set[tuple[str, int] | None]] = {}
    kept = []
    for unit in units:
        weight = unit.weight
        if weight is not None and weight.use_count > 1:
            if id(weight) not in found:
                found[id(weight)] = {roles.get((id(n), i)) for n, i in weight.users}
            if None in found[id(weight)] or len(found[id(weight)]) > 1 or weight.is_output:
                skip(unit.node, "shared-weight", f"another node needs {weight.name!r} in float")
                continue
        kept.append(unit)
    return kept


def _role(unit: Unit) -> str:
    return f"{unit.node.op_type == 'Conv'}/{unit.groups}"


def check_left(model: Model, patterns: Sequence[str], ctx: Context) -> None:
    """Check that patterns of `in_float` match nodes.

    In a plan they need not: other samples may make other layers than those that it names.

    Raises:
        OptionError: If one matches none, and the pipeline is no plan.
    """
    if not ctx.fixed:
        check_patterns(model, patterns, "quant", "in_float")
        return
    labels = [node.label for _, node in model.nodes()]
    for pattern in patterns:
        if not any(matches(label, (pattern,)) for label in labels):
            why = f"in_float names {pattern!r}, which these samples make no layer of"
            ctx.remark(Severity.NOTE, "not-there", why)


def is_eligible(model: Model) -> bool:
    """Whether a model is not quantized yet, and its operator set has scales per channel."""
    kinds = {node.op_type for _, node in model.nodes() if node.domain in ("", "com.microsoft")}
    return kinds.isdisjoint(QUANTIZED_OPS) and (model.opset >= 13 or model.opset == 0)


def reason_against(model: Model, wide: str, ctx: Context) -> tuple[str, str] | None:
    """Return why a model cannot be quantized, as a code and a sentence; None if it can.

    Args:
        model: The model.
        wide: The type of activations that are asked for if it has 16 bits, else empty.
        ctx: Says whether slower models are allowed.
    """
    if model.opset and model.opset < 13:
        why = f"opset {model.opset} has no scales per channel; canonicalize upgrades it to 13"
        return "old-opset", why
    if not is_eligible(model):
        why = "the model is quantized already; quantize the float one, or use quant-weights"
        return "already-quantized", why
    if wide and (not ctx.allows_slower or model.opset < 21):
        why = (
            f"{wide} needs opset 21 and runs in float on processors; give "
            "--allow-slower or keep_slower=true if the model is for an accelerator"
        )
        return "no-16-bit-kernel", why
    return None
