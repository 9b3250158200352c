"""Which weights can be stored in fewer bits, and why not the others."""

from __future__ import annotations

from fnmatch import fnmatchcase

import numpy as np

from ocompress.analysis.linear_layer import Refusal
from ocompress.ir import DType, Model, Node, Value, query
from ocompress.lossy.layer_weights import QUANTIZED, RECURRENT
from ocompress.pipeline.naming import check_patterns
from passes.quantization.units import merging_reader, merging_sum
from passes.quantization.weight_forms import BITS, Role, lowest_opset, remedy
from passes.quantization.weight_site import SiteRules, Skip, WeightSite

NO_INTEGERS = ("ConvTranspose", *RECURRENT)
"""Operators whose weights have no integer form that a kernel would read."""
OP_TYPES = ("MatMul", "Gemm", "Gather", "Conv", *NO_INTEGERS)
_MOST_FP16 = 65504.0
_FOLDED = "kernel=fold can store it in fewer bits"
_FOLDABLE = (
    *("dequantized-every-run", "no-integer-form", "not-a-matrix", "not-a-table"),
    *("not-divisible", "shared-weight"),
)
"""Why kernels do not read a weight in integers, which are no reasons against folding it."""
_NO_KERNEL = "no kernel convolves with weights of fewer bits"
_NO_FORM = "{} weights have only fp16 and bf16, and integers with kernel=fold"


def collect(model: Model, rules: SiteRules, skip: Skip) -> list[WeightSite]:
    """Return the weights to store in fewer bits, in order of first use.

    Raises:
        OptionError: If a pattern matches no node.
    """
    check_patterns(model, rules.exclude, "quant-weights")
    found: dict[int, WeightSite] = {}
    refused: set[int] = set()
    for _, node in model.nodes():
        if node.is_op(*QUANTIZED):
            skip(node, "already-quantized", "it is quantized already")
        if not node.is_op(*rules.op_types):
            continue
        for at in _weights_at(node):
            match = _match(node, at, rules, model.opset)
            value = node.input(at)
            if match is None or value is None:
                continue
            folded = isinstance(match, Refusal) and rules.may_fold and match.code in _FOLDABLE
            if isinstance(match, Refusal) and not folded:
                skip(node, match.code, match.why)
                refused.add(id(value))
                continue
            shape = _shape_role(node) if isinstance(match, Refusal) else match
            site = found.setdefault(id(value), WeightSite(value, *shape))
            site.nodes.append(node)
            site.folded |= folded
            site.alike &= (site.role, site.axis) == shape
    return [s for s in found.values() if _keep(s, id(s.value) in refused, rules, skip)]


def unfused(site: WeightSite) -> str:
    """Return why ONNX Runtime would dequantize a weight on every run, empty if it would not."""
    if site.role is Role.TABLE:
        return ""
    if site.role is Role.KERNEL:
        return _NO_KERNEL
    if len(site.nodes) > 1:
        return f"{len(site.nodes)} operators share the weight, and only one alone fuses"
    data = site.nodes[0].input(0)
    after = merging_reader(site.nodes[0]) or merging_sum(site.nodes[0])
    if after is not None and (data is None or data.rank is None):
        return f"{after.op_type} follows, and the rank of its input is not known"
    return _odd_gemm(site.nodes[0])


def row_bias(node: Node) -> np.ndarray | None:
    """Return the constant bias of a Gemm as one row, None if it has none or not such a one."""
    bias, weight = query.constant(node, 2), query.constant(node, 1)
    if not node.is_op("Gemm") or bias is None or weight is None or weight.ndim != 2:
        return None
    width = weight.shape[0 if node.attr("transB", 0) else 1]
    if bias.size not in (1, width) or (bias.ndim and bias.shape[-1] != bias.size):
        return None
    row: np.ndarray = np.broadcast_to(bias.reshape(-1), (width,))
    return row


def _odd_gemm(node: Node) -> str:
    if not node.is_op("Gemm"):
        return ""
    if node.attr("alpha", 1.0) != 1.0 or node.attr("beta", 1.0) != 1.0 or node.attr("transA", 0):
        return "no kernel has alpha, beta or a transposed input"
    if node.input(2) is not None and row_bias(node) is None:
        return "its bias is not a constant with an element per column"
    return ""


def _keep(site: WeightSite, refused: bool, rules: SiteRules, skip: Skip) -> bool:
    """Say whether a weight is stored, and let it be folded where no kernel reads it."""
    problem = None if site.folded and not refused else _problem(site, refused, rules)
    if problem and problem.code in _FOLDABLE and not refused and _may_fold(site, rules):
        site.folded, problem = True, None
    if problem is None and site.role is Role.TABLE and not site.in_rows and _may_fold(site, rules):
        site.folded = True  # what it would save in memory is not worth operators on every run
    if problem is None and rules.form in BITS and site.stored_bytes(rules) >= site.value.file_bytes:
        problem = Refusal("larger", "with its scales it would take more bytes than in float")
    if problem is not None:
        for node in site.nodes:
            skip(node, problem.code, problem.why)
    return problem is None


def _may_fold(site: WeightSite, rules: SiteRules) -> bool:
    """Whether files alone may hold integers of a weight, which all of its readers agree to."""
    labels = [node.label for node, _ in site.value.users]
    named = any(fnmatchcase(label, p) for label in labels for p in rules.exclude)
    return rules.may_fold and not site.value.is_output and not named


def _problem(site: WeightSite, refused: bool, rules: SiteRules) -> Refusal | None:
    """Return why kernels do not read a weight in integers, None if they do."""
    shared = refused or not site.alike or site.value.use_count > len(site.nodes)
    if site.value.is_output or (shared and not rules.folds):
        why = f"{site.value.name!r} is needed in float elsewhere, too"
        return Refusal("shared-weight", why if refused or rules.may_fold else f"{why}; {_FOLDED}")
    if rules.folds or site.role is not Role.MATRIX:
        return None
    if rules.contrib:
        why = _odd_gemm(site.nodes[0])
        return Refusal("scaled-gemm", f"MatMulNBits cannot do it: {why}") if why else None
    why = "" if rules.keep_slower else unfused(site)
    if why:
        why = f"it would be slower than float, dequantized on every run: {why}"
        return Refusal("dequantized-every-run", why)
    return None


def _weights_at(node: Node) -> tuple[int, ...]:
    if node.is_op("Gather"):
        return (0,)
    if node.is_op(*RECURRENT):
        return (1, 2)
    first_only = query.constant(node, 0) is not None and query.constant(node, 1) is None
    return (0,) if node.is_op("MatMul") and first_only else (1,)


def _match(node: Node, at: int, rules: SiteRules, opset: int) -> tuple[Role, int] | Refusal | None:
    value, data = node.input(at), node.input(1 if at == 0 else 0)
    if value is None:
        return None
    for pattern in rules.exclude:
        if fnmatchcase(node.label, pattern):
            return Refusal("excluded", f"pattern {pattern!r} of 'exclude' matches it")
    if _is_part(node) or _narrow(value, rules.form):
        return Refusal("already-quantized", "it is quantized already")
    if not rules.folds and not node.is_op("Gather") and query.restored_by(data):
        return Refusal("already-quantized", "what it reads is quantized already")
    array = value.constant
    if array is None:
        made = query.made_by(value, "Gather")
        if node.is_op("Gather") or (made is not None and query.constant(made, 0) is not None):
            return None  # a look-up in what was computed, or what is looked up, which has its own
        return Refusal("dynamic-weight", "its weight is computed, not a constant")
    kind = DType.of(array)
    if kind is not DType.FLOAT:
        if not kind.is_float:
            return None
        return Refusal("not-float32", f"its weight is {kind.name.lower()}, not float32")
    return check_array(array, rules) or _role(node, at, array, rules, opset)


def _narrow(value: Value, form: str) -> bool:
    if value.packed is not None and value.constant is not None:
        return value.packed.largest.file_bytes <= value.constant.size * BITS.get(form, 16) // 8
    made = query.restored_by(value) or query.made_by(value, "Cast", "Mul")
    if made is not None and made.is_op("Mul"):
        made = query.made_by(made.input(0), "Cast")
    return made is not None and query.constant(made, 0) is not None


def _is_part(node: Node) -> bool:
    """Whether a look-up finds scales or zero points of rows of integers."""
    if not node.is_op("Gather"):
        return False
    for reader, index in node.output.users:
        if reader.is_op("DequantizeLinear") and index:
            return True
        other = reader.input(1 - index) if reader.is_op("Mul") else None
        shifted = query.made_by(other, "Sub")
        cast = query.made_by(shifted.input(0) if shifted is not None else other, "Cast")
        if cast is not None and query.made_by(cast.input(0), "Gather", "Concat") is not None:
            return True
    return False


def check_array(array: np.ndarray, rules: SiteRules) -> Refusal | None:
    """Say why an array of any shape cannot be stored in the form that the rules ask for."""
    if array.size < max(1, rules.smallest):
        why = f"its weight has {array.size} elements, fewer than {rules.smallest}"
        return Refusal("too-small", why)
    if not np.isfinite(array).all():
        return Refusal("not-finite", "its weight has NaN or infinite elements")
    if rules.form == "fp16" and np.abs(array).max() > _MOST_FP16:
        return Refusal("out-of-range", "its weight has elements that float16 cannot hold; try bf16")
    return None


def _role(
    node: Node, at: int, array: np.ndarray, rules: SiteRules, opset: int
) -> tuple[Role, int] | Refusal:
    role, axis = _shape_role(node)
    if node.is_op("Conv") and rules.may_fold:
        return Refusal("dequantized-every-run", _NO_KERNEL)
    if node.is_op(*NO_INTEGERS) and rules.may_fold:
        return Refusal("no-integer-form", _NO_FORM.format(node.op_type))
    lowest, lack = lowest_opset(rules.form, role, rules.blocks[role], rules.kernel)
    if 0 < opset < lowest:
        return Refusal("old-opset", f"opset {opset} has {lack}; {remedy(lowest)}")
    if rules.folds:
        return role, axis
    if node.is_op(*NO_INTEGERS):
        return Refusal("no-integer-form", _NO_FORM.format(node.op_type))
    if role is Role.MATRIX and (at == 0 or array.ndim != 2):
        why = f"its weight is not one matrix that inputs multiply from the left; {_FOLDED}"
        return Refusal("not-a-matrix", why)
    if role is Role.TABLE:
        return _check_table(node, array, rules) or (role, axis)
    return role, axis


def _shape_role(node: Node) -> tuple[Role, int]:
    if node.is_op("Gather"):
        return Role.TABLE, 1
    if node.is_op("Conv", *NO_INTEGERS):
        return Role.KERNEL, 1
    return Role.MATRIX, 1 if node.is_op("Gemm") and node.attr("transB", 0) else 0


def looks_up_rows(node: Node, array: np.ndarray) -> bool:
    """Whether a look-up finds rows of a matrix."""
    return array.ndim == 2 and node.attr("axis", 0) in (0, -2)


def _check_table(node: Node, array: np.ndarray, rules: SiteRules) -> Refusal | None:
    if not looks_up_rows(node, array):
        return Refusal("not-a-table", f"it does not look up rows of a matrix; {_FOLDED}")
    if array.shape[1] % {"int4": 2, "int2": 4}.get(rules.form, 1):
        why = f"rows of {array.shape[1]} elements do not fill whole bytes"
        return Refusal("not-divisible", why)
    return None
