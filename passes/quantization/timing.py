"""What integers cost on the machine at hand: single operators, conversions, and the whole model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ocompress.io.dataset import Feeds
from ocompress.ir import Model, Node
from ocompress.pipeline import Verdict
from ocompress.planning import Cell
from ocompress.profiling import time_layers
from passes.quantization.costing import MeasuredTimes
from passes.quantization.drafting import Drafter
from passes.quantization.units import Unit

_PROFILER_NS = 2000.0
"""What ONNX Runtime's profiler itself takes for a kernel, at most."""
_PARTED = 1.15
"""Factor by which prediction and measurement part."""
_ROUNDS, _TURN_SECONDS = 3, 0.15
_LOOK_SECONDS = 0.04
_CONVERSIONS = ("DequantizeLinear", "QuantizeLinear")


def measure_times(drafter: Drafter, units: Sequence[Unit], feeds: Feeds) -> MeasuredTimes:
    """Time every unit in float and as integers, in turns.

    Args:
        drafter: Has the model and makes integers of the units.
        units: What has an integer kernel.
        feeds: One call of the model.

    Raises:
        RuntimeFailureError: If a model cannot be run.
    """
    draft, mixed = drafter.draft(units), every_other(units)
    models = [drafter.model, draft.model, drafter.draft(mixed).model]
    float_ns, int8_ns, mixed_ns = time_layers(
        models, feeds, rounds=_ROUNDS, seconds=_TURN_SECONDS, taken=_PROFILER_NS
    )
    cells = {
        id(unit.node): Cell(_time(float_ns, unit), int8_ns[twin.node])
        for unit, twin in zip(units, draft.twins, strict=True)
        if unit.node in float_ns and twin.node in int8_ns
    }
    conversions = sum(
        spent for node, spent in mixed_ns.items() if node is None or node.is_op(*_CONVERSIONS)
    )
    return MeasuredTimes(cells, conversions, frozenset(id(u.node) for u in mixed))


def every_other(units: Sequence[Unit]) -> list[Unit]:
    """Return every other unit that has a weight: between them lie conversions of all sizes.

    Units that share a weight are all among them or none is. Of one weight alone it is that.
    """
    weights = dict.fromkeys(id(u.weight) for u in units if u.weight is not None)
    chosen = set(list(weights)[::2])
    return [u for u in units if id(u.weight) in chosen] or list(units)


def share_of(model: Model, units: Sequence[Unit], feeds: Feeds) -> float:
    """Return the part of a model's time in float that units take, after one short look.

    Raises:
        RuntimeFailureError: If the model cannot be run.
    """
    (found,) = time_layers([model], feeds, rounds=1, seconds=_LOOK_SECONDS)
    inside = {n for u in units for n in (u.node, u.tail) if n is not None}
    known = sum(spent for node, spent in found.items() if node in inside)
    others = sum(spent for node, spent in found.items() if node is not None and node not in inside)
    return known / (known + others) if known + others else 1.0


def part(predicted: float, verdict: Verdict) -> bool:
    """Whether a guard measured clearly another ratio of times than what was predicted.

    Args:
        predicted: Time of the model over what it takes in float.
        verdict: Of the guard that looks at latency, on the same model.
    """
    low, high = (verdict.figures.get(name) for name in ("low", "high"))
    if low is None or high is None:
        return False
    return low > predicted * _PARTED or high < predicted / _PARTED


def _time(nodes: Mapping[Node | None, float], unit: Unit) -> float:
    """Return the time of a unit in float, with its tail."""
    return nodes[unit.node] + (nodes.get(unit.tail, 0.0) if unit.tail is not None else 0.0)
