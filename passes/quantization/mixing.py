"""Outputs that hold values of very different size, as boxes in pixels beside scores.

One grid for all of them has no levels left for the small ones. Where parts are put together right
before an output nothing is gained by integers, so what puts them together, and what only moves
them behind that, stays in float; each part keeps a grid of its own.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ocompress.analysis.scales import scales_of
from ocompress.errors import RuntimeFailureError
from ocompress.io.dataset import Dataset
from ocompress.ir import Model, Node, Value
from ocompress.runtime import Session
from passes.quantization.plan import Skip
from passes.quantization.units import Unit

_SAMPLES = 16
_LAYOUT = ("Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze", "Identity")
_PUT_TOGETHER = ("Concat", "Add", "Sub", "Mul", "Div")
_PASSED = (*_LAYOUT, *_PUT_TOGETHER, "Slice", "Split", "Relu", "Clip")
_MOST = 64


def apart(units: Sequence[Unit], model: Model, data: Dataset, skip: Skip) -> list[Unit]:
    """Return the units that neither make nor read a value of several sizes before an output.

    Args:
        units: Of the main graph and of bodies.
        model: Their model, in float; not changed.
        data: A few samples are run.
        skip: Told about the others.
    """
    mixed = _mixed(model, data)
    kept = []
    for unit in units:
        touched = [v for v in (*(v for _, v in unit.operands), *unit.outputs) if id(v) in mixed]
        if not touched:
            kept.append(unit)
            continue
        why = f"{touched[0].name!r} holds values of very different size right before an output"
        skip(unit.node, "mixed-units", why)
    return kept


def _mixed(model: Model, data: Dataset) -> set[int]:
    """Return the values of several sizes that reach an output as they are, by id."""
    near = _near_outputs(model)
    if not any(_maker(v, *_PUT_TOGETHER) for v in near):
        return set()
    try:
        session = Session(model, threads=0, extra_outputs=[v for v in near if not v.is_output])
        runs = [session.run(feeds, [v.name for v in near]) for feeds in data.take(_SAMPLES)]
    except RuntimeFailureError:
        return set()
    differ = {id(v) for v in near if any(_differ(made) for made in _seen(v, runs))}
    found: set[int] = set()
    open_ = [v for v in model.graph.outputs if _maker(v, *_PASSED)]
    while open_:
        value = open_.pop()
        maker = _maker(value, *_PASSED)
        if maker is None or id(value) in found:
            continue
        if id(value) in differ:
            found.add(id(value))
        elif not maker.is_op(*_LAYOUT):
            continue
        open_ += [v for v in maker.inputs if v is not None]
    return found


def _near_outputs(model: Model) -> list[Value]:
    """Return the outputs, and what reaches them through what is passed, the nearest first."""
    found: dict[int, Value] = {}
    open_ = list(model.graph.outputs)
    while open_ and len(found) < _MOST:
        value = open_.pop(0)
        maker = _maker(value, *_PASSED)
        if maker is None or id(value) in found or (value.dtype and not value.dtype.is_float):
            continue
        found[id(value)] = value
        open_ += [v for v in maker.inputs if v is not None]
    return list(found.values())


def _maker(value: Value, *op_types: str) -> Node | None:
    maker = value.producer
    return maker if maker is not None and maker.is_op(*op_types) else None


def _seen(value: Value, runs: Sequence[dict[str, np.ndarray]]) -> list[np.ndarray]:
    """Return what was seen of a value: all runs behind each other, or the first alone."""
    made = [run[value.name] for run in runs if isinstance(run.get(value.name), np.ndarray)]
    if not made or made[0].dtype.kind != "f":
        return []
    same = made[0].ndim > 0 and all(a.shape[1:] == made[0].shape[1:] for a in made)
    return [np.concatenate(made) if same else made[0]]


def _differ(values: np.ndarray) -> bool:
    finite = np.nan_to_num(values.astype(np.float64), posinf=0.0, neginf=0.0)
    return scales_of(finite) is not None
