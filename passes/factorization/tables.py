"""Tables of embeddings as thinner tables and a product behind them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from ocompress.analysis.linear_layer import Refusal
from ocompress.analysis.segment_runner import Walk
from ocompress.analysis.weight_form import rounded
from ocompress.ir import DType, Model, Node, Value
from ocompress.pipeline import Context

_ALL_ROWS = 0.1
"""Share of the covariance that comes from all rows alike: data show few of them."""


class RankRule(Protocol):
    """The options that say what rank a table gets."""

    @property
    def rank(self) -> int:
        """The rank; 0 leaves it to the others."""
        ...

    @property
    def energy(self) -> float:
        """Share of the power of what is read that is kept."""
        ...

    @property
    def max_weights(self) -> float:
        """Share of the weights that may be left."""
        ...

    @property
    def data_free(self) -> bool:
        """Whether rows count alike even where there are data."""
        ...


@dataclass(frozen=True)
class Table:
    """A constant table and the nodes that pick rows from it."""

    value: Value
    nodes: list[Node]

    @property
    def array(self) -> np.ndarray:
        """The rows, (entries, width)."""
        assert self.value.constant is not None
        return self.value.constant


def replace_tables(
    model: Model, rule: RankRule, takes: Callable[[Node], bool], ctx: Context
) -> list[dict[str, Any]]:
    """Write every table that a rule gives a lower rank as a table and a matrix.

    The matrix holds the principal components of the rows that data pick, and of all rows a
    little; what is picked gets no faster, only the file smaller.

    Args:
        model: Changed in place.
        rule: The options.
        takes: Says whether a node may be changed.
        ctx: Has the data, if there are any.

    Returns:
        A row of the report for each table that was replaced.
    """
    done = []
    for table in _tables(model, ctx):
        if not all(takes(node) for node in table.nodes):
            ctx.skip_each(
                table.nodes, "excluded", "a pattern of 'exclude' or 'layers' leaves it out"
            )
            continue
        seen = None if rule.data_free or not ctx.has_data else _seen(model, table.nodes, ctx)
        basis, power = _components(table, seen)
        rank = _rank(table, power, rule)
        entries, width = table.array.shape
        if not rank or rank * (entries + width) >= entries * width:
            why = "no rule gives it a rank with fewer weights: name rank, energy or max_weights"
            ctx.skip_each(table.nodes, "no-form", why)
            continue
        refusal = _put(table, basis[:, :rank])
        if refusal is not None:
            ctx.skip_each(table.nodes, refusal.code, refusal.why)
            continue
        kept = float(power[:rank].sum() / max(power.sum(), 1e-30))
        what = f"a table of {rank} columns and a product: {kept:.2%} of the power is kept"
        ctx.applied(table.nodes[0], "replaced", what)
        name = table.nodes[0].label
        done.append({"name": name, "rank": rank, "width": width, "power_kept": kept})
    return done


def _tables(model: Model, ctx: Context) -> Iterator[Table]:
    found: dict[int, Table] = {}
    for node in model.graph.nodes:
        value = node.input(0) if node.is_op("Gather") else None
        array = None if value is None else value.constant
        if value is None or array is None or array.ndim != 2 or not DType.of(array).is_float:
            continue
        found.setdefault(id(value), Table(value, [])).nodes.append(node)
    for table in found.values():
        axes = {int(n.attr("axis", 0)) for n in table.nodes}
        if axes == {0} and table.value.use_count == len(table.nodes):
            yield table
        else:
            ctx.skip_each(table.nodes, "shared-weight", "its table is read in other ways, too")


def _components(table: Table, seen: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Return the principal components of the rows as columns, and the power of each."""
    rows = table.array.astype(np.float64)
    gram = rows.T @ rows / len(rows)
    if seen is not None:
        gram = seen + _ALL_ROWS * gram
    power, basis = np.linalg.eigh(gram)
    return basis[:, ::-1], power[::-1].clip(0)


def _seen(model: Model, nodes: Sequence[Node], ctx: Context) -> np.ndarray | None:
    """Return the mean products of the rows that data pick."""
    total, count = None, 0
    walk = Walk(model, ctx.data)
    for node in nodes:
        for made in walk.show(node, [node.output]):
            picked = made[node.output.name].astype(np.float64)
            flat = picked.reshape(-1, picked.shape[-1])
            total = flat.T @ flat + (0 if total is None else total)
            count += len(flat)
    return None if total is None else total / max(count, 1)


def _rank(table: Table, power: np.ndarray, rule: RankRule) -> int:
    width = int(table.array.shape[1])
    if rule.rank:
        return min(rule.rank, width)
    if rule.max_weights:
        return int(rule.max_weights * table.array.size / sum(table.array.shape))
    if rule.energy:
        kept = np.cumsum(power) / max(float(power.sum()), 1e-30)
        return min(int(np.searchsorted(kept, rule.energy)) + 1, width)
    return 0


def _put(table: Table, basis: np.ndarray) -> Refusal | None:
    dtype = table.array.dtype
    thin = rounded(table.array.astype(np.float64) @ basis, dtype)
    wide = rounded(np.ascontiguousarray(basis.T), dtype)
    if thin is None or wide is None:
        return Refusal("non-finite", "its type cannot hold the factors")
    graph = table.nodes[0].graph
    assert graph is not None
    constants = [graph.constant(f"{table.value.name}_factor", array) for array in (thin, wide)]
    for node in table.nodes:
        name = graph.names.fresh(f"{node.label}_factor")
        picked = graph.add_op("Gather", [constants[0], node.inputs[1]], name=name)
        node.op_type = "MatMul"  # the node stays, and with it its name and its output
        node.set_attr("axis", None)
        node.set_inputs([picked.output, constants[1]])
    if graph.initializers.get(table.value.name) is table.value:
        del graph.initializers[table.value.name]
        graph.names.release(table.value.name)
    return None
