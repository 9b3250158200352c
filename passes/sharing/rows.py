"""What the report says of each weight."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from ocompress.ir import Model
from ocompress.lossy import applying
from ocompress.lossy.engine import Chosen
from ocompress.lossy.layer_weights import LayerWeight
from ocompress.lossy.refit import Built
from ocompress.pipeline import Context
from passes.sharing.building import BuiltLevels, Levels
from passes.sharing.offers import Prices


class Became(Protocol):
    """What became of a weight."""

    @property
    def error(self) -> float | None:
        """What its layer costs at the model's outputs, as far as that is known."""
        ...


R = TypeVar("R", bound=Became)


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
    found = weight_rows(proposal.weights, built, built.rows, _described)
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


def weight_rows(
    weights: Sequence[LayerWeight],
    built: Built,
    became: Mapping[str, R],
    described: Callable[[LayerWeight, R], dict[str, Any]],
) -> list[dict[str, Any]]:
    """Return a row for every weight that was looked at.

    Args:
        weights: The weights.
        built: Has what fitting them did.
        became: What became of each, by name.
        described: Says that.
    """
    found = []
    for weight in weights:
        row: dict[str, Any] = {"name": weight.name, "weights": weight.array.size}
        made = became.get(weight.name)
        if made is not None:
            row |= described(weight, made)
            if made.error is not None:
                row["predicted_error"] = made.error
        fit = next((built.fits[n.label] for n in weight.nodes if n.label in built.fits), None)
        if fit is not None:
            row |= {"output_error": fit.before, "refitted_error": fit.after}
        found.append(row)
    return found


def coded_rows(
    weights: Sequence[LayerWeight],
    chosen: Chosen,
    became: Mapping[str, R],
    described: Callable[[R], dict[str, Any]],
) -> list[dict[str, Any]]:
    """Return a row for every weight that was looked at, with the bits of the move that was made.

    Args:
        weights: The weights.
        chosen: The moves, and the model of them.
        became: What became of each, by name.
        described: Says that.
    """
    assert chosen.built is not None

    def whole(weight: LayerWeight, made: R) -> dict[str, Any]:
        bits = 8 * chosen.plan[weight.name].bytes / weight.array.size
        return described(made) | {"bits": bits}

    return weight_rows(weights, chosen.built, became, whole)


def _described(weight: LayerWeight, made: Levels) -> dict[str, Any]:
    bits = made.bits / weight.array.size
    return {"bits": bits, "sparsity": made.zeros, "largest": made.largest}
