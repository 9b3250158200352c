"""Names for libraries that take UTF-8 only."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ocompress.ir.model import Model
from ocompress.ir.strings import is_clean, readable
from ocompress.ir.value import Value


def with_clean_names(
    model: Model, extra_outputs: Iterable[Value]
) -> tuple[Model, Sequence[Value], dict[str, str]]:
    """Give inputs and outputs names and symbols that are UTF-8, in a copy where that is needed.

    Args:
        model: The model.
        extra_outputs: Further values of its main graph that will be outputs.

    Returns:
        The model, the values in it that stand for `extra_outputs`, and the new names by old ones.
    """
    extra = list(extra_outputs)
    wanted = [*model.graph.inputs, *model.graph.outputs, *extra]
    if all(map(_is_clean, wanted)):
        return model, extra, {}
    copy = model.clone()
    graph = copy.graph
    made = [v for n in graph.nodes for v in n.outputs if v is not None]
    by_name = {v.name: v for v in (*graph.initializers.values(), *graph.inputs, *made)}
    aliases: dict[str, str] = {}
    for value in by_name.values():  # symbols travel from one to the other as the model is loaded
        if value.shape is not None:
            shape = tuple(d if _is_clean_dim(d) else None for d in value.shape)
            value.set_type(value.dtype, shape)
    for old in wanted:
        value = by_name[old.name]
        if not is_clean(value.name):
            alias = graph.names.fresh(readable(value.name))
            graph.names.release(alias)
            aliases[old.name] = alias
            graph.rename(value, alias)
    return copy, [by_name[v.name] for v in extra], aliases


def _is_clean(value: Value) -> bool:
    return is_clean(value.name) and all(map(_is_clean_dim, value.shape or ()))


def _is_clean_dim(extent: object) -> bool:
    return not isinstance(extent, str) or is_clean(extent)
