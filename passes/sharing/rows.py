"""What the report says of each weight."""

from __future__ import annotations

from typing import Any

from ocompress.ir import Model
from ocompress.lossy import applying
from ocompress.lossy.engine import Chosen
from ocompress.pipeline import Context
from passes.sharing.building import BuiltLevels
from passes.sharing.offers import Prices


def details(model: Model, proposal: Prices, chosen: Chosen, ctx: Context) -> dict[str, Any]:
    """Return what the report holds of a run: a row for every weight that was looked at.

    Args:
        model: The model as it was.
        proposal: What was looked at.
        chosen: What came of it.
        ctx: Has the data.
    """
    built = chosen.built
    if not isinstance(built, BuiltLevels):
        return {}
    found: list[dict[str, Any]] = []
    for weight in proposal.weights:
        row: dict[str, Any] = {"name": weight.name, "weights": weight.array.size}
        made = built.levels.get(weight.name)
        if made is not None:
            row |= {
                "bits": made.bits / weight.array.size,
                "sparsity": made.zeros,
                "largest": made.largest,
            }
            if made.error is not None:
                row["predicted_error"] = made.error
        fit = next((built.fits[n.label] for n in weight.nodes if n.label in built.fits), None)
        if fit is not None:
            row |= {"output_error": fit.before, "refitted_error": fit.after}
        found.append(row)
    elements = max(proposal.elements, 1)
    whole: dict[str, Any] = {
        "levels": found,
        "bits": built.bits / elements,
        "coded_bytes": round(built.bits / 8),
    }
    if chosen.plan and all("predicted_error" in row for row in found):
        predicted = sum(row["predicted_error"] for row in found)
        whole |= applying.together(model, built, predicted, ctx)
    return whole
