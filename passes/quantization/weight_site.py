"""A weight that can be stored in fewer bits, and what the options say about which to take."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from ocompress.ir import Graph, Node, Value
from ocompress.lossy.layer_weights import RECURRENT
from passes.quantization.weight_forms import BITS, HALVES, Role

Skip = Callable[[Node, str, str], None]
_BLOCK_NODES = 800
"""Bytes of the nodes that restore integers in blocks, with their names and small tensors."""
_LEAST_TABLE = 1 << 20
"""Bytes from which on a table is worth operators on every run that leave it as small in memory."""
_SELECTING = ("Gather", "GatherElements", "GatherND", "Slice", "Split")
"""Operators that take parts of a weight or a table, which other operators apply."""


@dataclass
class WeightSite:
    """A constant weight with every operator that applies it.

    Attributes:
        value: The constant.
        role: What it is to its operators.
        axis: Axis of the inputs, along which blocks lie.
        nodes: The operators.
        folded: Whether it has no integer form that a kernel reads, so that files alone hold
            integers of it and every reader finds floats again.
        alike: Whether it is the same to all of them.
    """

    value: Value
    role: Role
    axis: int
    nodes: list[Node] = field(default_factory=list)
    folded: bool = False
    alike: bool = True

    @property
    def array(self) -> np.ndarray:
        """The weight."""
        assert self.value.constant is not None
        return self.value.constant

    @property
    def rows(self) -> np.ndarray:
        """The weight with an output channel (a word of a table) per row."""
        if self.role is Role.KERNEL:
            return self.array.reshape(len(self.array), -1)
        return self.array if self.axis else self.array.T

    @property
    def channel_axes(self) -> tuple[int, ...]:
        """Axes of the output channels, and of whatever stacks them; a scale for each index."""
        node, rank = self.nodes[0], self.array.ndim
        if node.is_op(*RECURRENT):
            return (0, 1)
        if node.is_op("ConvTranspose"):
            return (1,)
        if node.is_op("MatMul"):
            rows = self.value is node.input(0) and rank > 1
            return (*range(rank - 2), rank - 2 if rows else rank - 1)
        if self.role is Role.MATRIX:
            return (1 - self.axis,)
        in_turn = node.is_op("Conv") or (node.is_op("Gather") and rank == 1)
        return (0,) if in_turn else tuple(range(rank - 1))

    def stored_bytes(self, rules: SiteRules) -> int:
        """Return the bytes of its integers and of the scales that they need."""
        nodes = 0
        if rules.folds or self.folded:
            scales = math.prod(self.array.shape[a] for a in self.channel_axes)
            block = rules.blocks[self.role]
            if block and scales:
                scales *= -(-self.array.size // (scales * block))
            if block or BITS[rules.form] < 8:
                nodes = _BLOCK_NODES
        else:
            channels, width = self.rows.shape
            scales = channels * -(-width // (rules.blocks[self.role] or max(1, width)))
        return int(self.array.size * BITS[rules.form] // 8 + 4 * scales + nodes)

    @property
    def in_rows(self) -> bool:
        """Whether it is a large table of which nothing but look-ups read some rows."""
        only = self.value.use_count == len(self.nodes) and self.array.nbytes >= _LEAST_TABLE
        return only and all(node.is_op("Gather") for node in self.nodes)

    @property
    def is_selected(self) -> bool:
        """Whether all that reads it takes parts of it, as of a stack of experts by GatherND."""
        return all(node.is_op(*_SELECTING) for node in self.nodes)

    @property
    def graph(self) -> Graph | None:
        """The graph that all operators are in, None if they are in several."""
        graphs = {id(n.graph): n.graph for n in self.nodes}
        return next(iter(graphs.values())) if len(graphs) == 1 else None


@dataclass(frozen=True)
class SiteRules:
    """What the options say about which weights to take."""

    form: str
    blocks: Mapping[Role, int]
    op_types: tuple[str, ...]
    exclude: tuple[str, ...]
    smallest: int
    kernel: str
    keep_slower: bool

    @property
    def contrib(self) -> bool:
        """Whether products become MatMulNBits."""
        return self.kernel == "matmulnbits"

    @property
    def folds(self) -> bool:
        """Whether every weight is a float one again once the model is loaded, so fits anywhere."""
        return self.form in HALVES or self.kernel == "fold"

    @property
    def may_fold(self) -> bool:
        """Whether a weight without an integer form may be folded while others are not."""
        return self.form in BITS and self.kernel == "auto"
