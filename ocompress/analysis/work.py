"""How much a model has to multiply."""

from __future__ import annotations

from ocompress.analysis.linear_layer import LINEAR
from ocompress.analysis.macs import macs, resolver
from ocompress.analysis.shapes import with_shapes
from ocompress.io import Feeds
from ocompress.io.dataset import Dataset, cut_at
from ocompress.ir import Model


def one_sample(model: Model, data: Dataset | None) -> Feeds | None:
    """Return the least of the data that the model runs on, None without data."""
    feeds = next(iter(data.take(1)), None) if data is not None else None
    return None if data is None or feeds is None else first_sample(model, feeds, cut_at(data))


def first_sample(model: Model, feeds: Feeds, rows: int = 1) -> Feeds:
    """Return the part of a feed that is one sample.

    The first axes that the model leaves free count samples, and so do other axes of the same name:
    the states of recurrent nets have their samples on the second.

    Args:
        model: Says which extents are free.
        feeds: One feed, of any number of samples.
        rows: How many of the axes that count samples stay together; 0 leaves the feed whole.
    """
    if not rows:
        return feeds
    declared = {v.name: v.shape or () for v in model.graph.inputs}
    firsts = {s[0] for s in declared.values() if len(s) > 1}  # a flat input may be one sample
    counting = {extent for extent in firsts if isinstance(extent, str)}
    found = {}
    for name, array in feeds.items():
        shape = declared.get(name) or (None,) * array.ndim
        ones = {a for a, extent in enumerate(shape) if extent in counting}
        if array.ndim > 1 and not isinstance(shape[0], int):
            ones.add(0)
        cut = tuple(slice(rows if a in ones else None) for a in range(array.ndim))
        found[name] = array[(*cut, ...)]  # without the dots, a scalar would be no array any more
    return found


def work_of(model: Model, sample: Feeds | None) -> dict[int, float]:
    """Return the multiply-accumulates of each node for one sample, by its id.

    Bodies of control flow count once, as if their condition held and their loop ran a single time.
    """
    typed = with_shapes(model, {name: array.shape for name, array in (sample or {}).items()})
    return _counted(model, typed)


def work_of_typed(model: Model) -> dict[int, float]:
    """Return the multiply-accumulates of each node of a model whose shapes are all fixed."""
    return _counted(model, model)


def _counted(model: Model, typed: Model) -> dict[int, float]:
    resolve = resolver(typed, {})
    found = {}
    for (_, node), (_, twin) in zip(model.nodes(), typed.nodes(), strict=True):
        counted = macs(twin, resolve)
        if counted is None and node.is_op(*LINEAR):  # every weight at least once
            counted = sum(w.size for v in node.inputs if v and (w := v.constant) is not None)
        if counted:
            found[id(node)] = float(counted)
    return found
