"""Which weights of layers a pass may touch, and why not the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase

import numpy as np

from ocompress.analysis import boundary_layers, linear_layer
from ocompress.analysis.linear_layer import Layer, Refusal
from ocompress.analysis.linear_rows import Site, site_of
from ocompress.analysis.weight_form import WeightForm
from ocompress.ir import DType, Model, Node, Value, query
from ocompress.pipeline import Context

QUANTIZED = ("ConvInteger", "QLinearConv", "MatMulInteger", "QLinearMatMul")
OP_TYPES = ("Conv", "ConvTranspose", "Gemm", "MatMul", "Gather")
RECURRENT = ("LSTM", "GRU", "RNN")
_WORTH = 3
"""Times the bytes that a file computes a constant of from which on it is no weight to change. One
of 16 bits behind a Cast takes half."""


@dataclass
class LayerWeight:
    """A constant weight with every node that applies it.

    Attributes:
        value: The constant.
        form: Where its channels are, as its first node sees it.
        nodes: The nodes that read it.
    """

    value: Value
    form: WeightForm
    nodes: list[Node] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Name of the first node."""
        return self.nodes[0].label

    @property
    def array(self) -> np.ndarray:
        """The array."""
        assert self.value.data is not None
        return self.value.data

    def twin(self, twins: Mapping[int, Node]) -> LayerWeight:
        """Return the same weight of a clone, given its nodes by the id of the original's."""
        nodes = [twins[id(node)] for node in self.nodes]
        at = next(i for i, v in enumerate(self.nodes[0].inputs) if v is self.value)
        value = nodes[0].inputs[at]
        assert value is not None
        return replace(self, value=value, nodes=nodes)


@dataclass(frozen=True)
class Rules:
    """What the options say about which weights to leave alone."""

    op_types: tuple[str, ...]
    exclude: tuple[str, ...]
    protect_ends: bool
    depthwise: bool
    smallest: int


def sites_of(nodes: Sequence[Node], model: Model) -> list[Site] | Refusal:
    """Return layers as rows and matrices, in order; or why one of them is none."""
    found = []
    for node in nodes:
        site = site_of(node)
        if isinstance(site, Refusal):
            return site
        if site is None:
            return Refusal("no-matrix", "it is not a product with a matrix")
        if node.graph is not model.graph:
            return Refusal(
                "in-body", ("it is in a body of control flow, where values cannot be observed")
            )
        found.append(site)
    return found


def collect(model: Model, rules: Rules, ctx: Context) -> list[LayerWeight]:
    """Return the weights to work on, in order of first use; each other one gets a remark."""
    found: dict[int, LayerWeight] = {}
    for _, node in model.nodes():
        _add(node, found)
        no_layer = _no_layer(node, rules)
        if no_layer is not None:
            ctx.skip(node, *no_layer)
    first: set[int] = set()
    last: set[int] = set()
    if rules.protect_ends:
        first = boundary_layers.first_layers(model, _is_layer)
        last = boundary_layers.last_layers(model, _is_layer)
    kept = []
    for candidate in found.values():
        refusal = _refusal(candidate, rules, first, last)
        if refusal is None:
            kept.append(candidate)
            continue
        for node in candidate.nodes:
            ctx.skip(node, *refusal)
    return kept


def weight_of(node: Node) -> tuple[Value, WeightForm] | None:
    """Return the constant float weight of a layer or an embedding and its form."""
    if node.is_op("Gather"):
        table = node.input(0)
        if table is None or table.constant is None or table.rank != 2 or node.attr("axis", 0):
            return None
        if not DType.of(table.constant).is_float:
            return None
        return table, WeightForm(table.constant.shape, 0, 1)
    layer = linear_layer.read(node) if node.is_op(*OP_TYPES) else None
    if isinstance(layer, Layer):
        value = node.inputs[layer.weight_at]
        assert value is not None
        return value, layer.form
    return _without_rank(node)


def _without_rank(node: Node) -> tuple[Value, WeightForm] | None:
    """Find the matrix of a MatMul whose other operand has no known rank."""
    if not node.is_op("MatMul"):
        return None
    for at, value in enumerate(node.inputs):
        other = node.inputs[1 - at]
        if value is None or value.constant is None or value.constant.ndim < 2:
            continue
        if DType.of(value.constant).is_float and other is not None and other.constant is None:
            last = value.constant.ndim - 1
            return value, WeightForm(value.constant.shape, last - (1 - at), last - at)
    return None


def _no_layer(node: Node, rules: Rules) -> tuple[str, str] | None:
    if is_quantized(node):
        return "already-quantized", "its weight is quantized; quantize after this"
    if node.is_op(*RECURRENT):
        why = "stay as they are here; quant and quant-weights store them as int8"
        return "recurrent", f"{node.op_type} weights {why}"
    if node.is_op(*rules.op_types) and weight_of(node) is None and node.op_type != "Gather":
        return "dynamic-weight", "its weight is computed or not float"
    return None


def _add(node: Node, found: dict[int, LayerWeight]) -> None:
    weight = weight_of(node)
    if weight is not None:
        found.setdefault(id(weight[0]), LayerWeight(*weight)).nodes.append(node)


def is_quantized(node: Node) -> bool:
    """Whether a layer or a look-up reads a weight of integers."""
    if node.is_op(*QUANTIZED) or node.op_type == "MatMulNBits":
        return True
    if not node.is_op("Conv", "ConvTranspose", "Gemm", "MatMul", "Gather"):
        return False
    return any(
        made is not None and query.constant(made, 0) is not None
        for made in map(query.restored_by, node.inputs[:2])
    )


def _is_layer(node: Node) -> bool:
    return is_quantized(node) or weight_of(node) is not None


def _refusal(
    candidate: LayerWeight, rules: Rules, first: set[int], last: set[int]
) -> tuple[str, str] | None:
    nodes = candidate.nodes
    odd = [n for n in nodes if n.op_type not in rules.op_types]
    if odd:
        if odd[0].is_op("Gather"):
            return "embedding", "its weight is an embedding table; name Gather in op_types"
        return "op-type", "its operator is not among op_types"
    matched = next((p for n in nodes for p in rules.exclude if fnmatchcase(n.label, p)), None)
    if matched is not None:
        return "excluded", f"pattern {matched!r} of 'exclude' matches it"
    if candidate.value.use_count > len(nodes):
        return "shared-weight", "a node that is not a layer also reads its weight"
    if any(found is None or found[1] != candidate.form for found in map(weight_of, nodes)):
        return "shared-weight", "its readers use the weight in different ways"
    if not rules.depthwise and any(_is_depthwise(n, candidate.form) for n in nodes):
        return "depthwise", "it is depthwise: few weights, each matters"
    for code, members in (("first-layer", first), ("last-layer", last)):
        if any(id(n) in members for n in nodes):
            return code, f"it is a {code.partition('-')[0]} layer and protect_ends is on"
    return _numbers_refused(candidate, rules)


def computed_of_less(value: Value | None) -> str:
    """Say, if so, that a file computes a weight of so little that other forms would take more."""
    held = None if value is None or value.constant is None else value.packed
    if value is None or held is None or held.is_code:
        return ""
    assert value.constant is not None
    if held.nbytes * _WORTH >= value.constant.nbytes:
        return ""
    less = f"{value.constant.size:,} weights of {held.nbytes:,} bytes"
    return f"the file computes its {less}; others would take more"


def _numbers_refused(candidate: LayerWeight, rules: Rules) -> tuple[str, str] | None:
    """Return why a weight stays because of its numbers."""
    weight = candidate.array
    why = computed_of_less(candidate.value)
    if why:
        return "computed-weight", why
    if weight.size < rules.smallest:
        return "too-small", f"it has {weight.size} weights, fewer than {rules.smallest}"
    if not np.isfinite(weight.astype(np.float32, copy=False)).all():
        return "non-finite", "its weight holds infinities or NaN"
    return None


def _is_depthwise(node: Node, form: WeightForm) -> bool:
    return node.is_op("Conv", "ConvTranspose") and form.groups > 1 and form.shape[1] == 1
