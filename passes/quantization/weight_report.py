"""What the report says of each weight that is stored in fewer bits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ocompress.diagnostics import Severity
from ocompress.pipeline import Context
from passes.quantization import weight_sites
from passes.quantization.weight_forms import INT8_LEVEL, Effect, Role
from passes.quantization.weight_site import WeightSite

if TYPE_CHECKING:
    from passes.quantization.quant_weights import QuantWeights


def row(site: WeightSite, effect: Effect, stored: int, error: float) -> dict[str, Any]:
    """Return the bytes of a weight on disk and while it runs, its effect and its error.

    Args:
        site: The weight, before it is rewritten.
        effect: What ONNX Runtime will make of it.
        stored: Its bytes in the file, scales and zero points included.
        error: Relative root of the squared weight error.
    """
    size = site.array.nbytes
    memory = {Effect.FOLDED: size, Effect.EVERY_RUN: stored + size}.get(effect, stored)
    return {
        "weight": site.value.name,
        "nodes": [n.label for n in site.nodes],
        "op_type": site.nodes[0].op_type,
        "float_bytes": size,
        "disk_bytes": stored,
        "memory_bytes": memory,
        "latency": str(effect),
        "weight_error": round(error, 6),
    }


def remark(item: QuantWeights, site: WeightSite, found: Mapping[str, Any], ctx: Context) -> None:
    """Say of a stored weight what one would not expect; `found` is its row."""
    if item.fit == "gptq" and found.get("fit") == "rtn" and site.role is Role.MATRIX:
        why = "no finite data reached its input, so its weight is rounded to nearest"
        ctx.remark(Severity.NOTE, "not-observed", why, site.nodes[0])
    if item.is_contrib and site.role is Role.MATRIX:
        _remark_on_contrib(item, site, ctx)
    elif found["latency"] == str(Effect.EVERY_RUN):
        why = weight_sites.unfused(site)
        what = f"ONNX Runtime will dequantize its weight on every run: {why}"
        ctx.remark(Severity.WARNING, "dequantized-every-run", what, site.nodes[0])


def _remark_on_contrib(item: QuantWeights, site: WeightSite, ctx: Context) -> None:
    for node in site.nodes:
        what = "it becomes com.microsoft.MatMulNBits, which is not standard ONNX"
        ctx.remark(Severity.NOTE, "not-standard-onnx", what, node)
    if item.accuracy_level not in (None, INT8_LEVEL) and item.form != "int4":
        what = "MatMulNBits of 2 or 8 bits is several times slower than float unless "
        what += "accuracy_level is 4"
        ctx.remark(Severity.WARNING, "slow-kernel", what, site.nodes[0])
