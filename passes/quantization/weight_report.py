"""What the report says of each weight that is stored in fewer bits."""

from __future__ import annotations

from typing import Any

from passes.quantization.weight_forms import Effect
from passes.quantization.weight_sites import WeightSite


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
