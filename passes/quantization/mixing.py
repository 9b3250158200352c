"""Outputs that hold values of very different size, as boxes in pixels beside scores.

One grid for all of them has no levels left for the small ones. Where parts are put together right
before an output nothing is gained by integers, so what puts them together, and what only moves
them behind that, stays in float; each part keeps a grid of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ocompress.analysis.scales import GAP, scales_of, within_unit
from ocompress.analysis.staged import Staged
from ocompress.errors import RuntimeFailureError
from ocompress.io.dataset import Dataset
from ocompress.ir import Model, Node, Value
from passes.quantization.matching import Skip
from passes.quantization.units import Unit

_SAMPLES = 16
_LAYOUT = ("Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze", "Identity", "Slice", "Split")
_PASSED = (*_LAYOUT, "Concat", "Add", "Sub", "Mul", "Div", "Relu", "Clip")
_MOST = 64
"""Values that are looked at, about."""


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
    if not any(v.producer is not None and _mixer(v.producer) for v in near.values()):
        return set()
    watched = [v for v in near.values() if v.producer is not None]
    try:
        session = Staged(model, extra_outputs=[v for v in watched if not v.is_output])
        names = [v.name for v in watched]
        runs = [session.run(feeds, names) for feeds in data.take(_SAMPLES)]
    except RuntimeFailureError:
        return set()
    seen = {v.name: _joined([run[v.name] for run in runs]) for v in watched}
    found: set[int] = set()
    for value in reversed(near.values()):  # what is farther from the outputs comes first
        maker = _maker(value, *_PASSED)
        if maker is not None and (
            _mixes(maker, seen) or any(id(v) in found for v in maker.inputs if v is not None)
        ):
            found.add(id(value))
    return found


def _near_outputs(model: Model) -> dict[int, Value]:
    """Return what reaches outputs through what is passed, by id, in order of their distance."""
    found: dict[int, Value] = {}
    level = list(model.graph.outputs)
    while level and len(found) < _MOST:
        behind: list[Value] = []
        for value in level:
            found.pop(id(value), None)  # its longest way counts
            found[id(value)] = value
            maker = _maker(value, *_PASSED)
            behind += [v for v in maker.inputs if v is not None] if maker is not None else []
        unique = {id(v): v for v in behind if v.dtype is None or v.dtype.is_float}
        level = list(unique.values())
    return found


def _maker(value: Value, *op_types: str) -> Node | None:
    maker = value.producer
    return maker if maker is not None and maker.is_op(*op_types) else None


def _mixer(node: Node) -> bool:
    """Whether an operator may put values of different size together."""
    return node.is_op("Concat") or (node.is_op("Mul", "Div") and _spread(node) > GAP)


def _spread(node: Node) -> float:
    """Return by how much the constant factors of a product differ."""
    factors = [np.abs(v.constant) for v in node.inputs if v is not None and v.constant is not None]
    sizes = [f[f > 0] for f in factors]
    return max((float(f.max() / f.min()) for f in sizes if f.size), default=1.0)


def _mixes(node: Node, seen: Mapping[str, np.ndarray]) -> bool:
    """Whether an operator put values together that differ in size, as far as was seen."""
    made = seen.get(node.output.name) if _mixer(node) else None
    if made is None or within_unit(made):
        return False
    if not node.is_op("Concat"):
        return scales_of(made) is not None
    parts = [v.constant if v.constant is not None else seen.get(v.name) for v in node.inputs if v]
    sizes = [
        float(np.sqrt(np.mean(np.square(p, dtype=np.float64))))
        for p in parts
        if p is not None and p.size
    ]
    sizes = [size for size in sizes if size > 0]
    return bool(sizes) and max(sizes) > GAP * min(sizes)


def _joined(made: Sequence[np.ndarray]) -> np.ndarray:
    """Return what was seen of a value: all runs behind each other, or the first alone."""
    first = made[0]
    same = first.ndim > 0 and all(a.shape[1:] == first.shape[1:] for a in made)
    found = np.concatenate(made) if same else first
    return np.nan_to_num(found.astype(np.float64), posinf=0.0, neginf=0.0)
