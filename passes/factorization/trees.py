"""The dense layers that a model ends in, and splitting them into branches that share nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ocompress.analysis.boundary_layers import last_layers
from ocompress.analysis.linear_layer import LINEAR, Layer, read
from ocompress.ir import Model, Node, Value, edit
from passes.factorization.grouping import balanced, grouped, in_order, kept

_SINGLE = (
    *("Relu", "LeakyRelu", "Elu", "Selu", "Celu", "Sigmoid", "Tanh", "HardSigmoid", "HardSwish"),
    *("Softplus", "Softsign", "Gelu", "Mish", "Erf", "Identity"),
)
"""Operators on single elements, without other inputs."""
_ROUNDS = 20


@dataclass(frozen=True)
class Tail:
    """Dense layers, one after the other, of which the last makes what no other layer reads.

    Attributes:
        layers: The layers, each a Gemm.
        between: Operators on single elements behind each of them but the last, in order.
    """

    layers: tuple[Node, ...]
    between: tuple[tuple[Node, ...], ...]

    @property
    def name(self) -> str:
        """Label of the first layer."""
        return self.layers[0].label

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels of the layers."""
        return tuple(node.label for node in self.layers)

    def matrices(self) -> list[np.ndarray]:
        """Return the weights, [inputs, outputs] each."""
        return [matrix_of(node) for node in self.layers]


def matrix_of(node: Node) -> np.ndarray:
    """Return the weight of a Gemm, [inputs, outputs], as it is multiplied with."""
    layer = read(node)
    assert isinstance(layer, Layer)
    matrix = layer.weight.T if node.attr("transB", 0) else layer.weight
    return np.asarray(matrix * layer.weight.dtype.type(node.attr("alpha", 1.0)))


def find_tails(model: Model, count: int) -> list[Tail]:
    """Return the ends of a model that can be split, each of so many layers at most."""
    last = last_layers(model, lambda node: node.is_op(*LINEAR))
    ends = (n for n in model.graph.nodes if id(n) in last)
    return [_tail(node, count) for node in ends if _is_plain(node)]


def _tail(last: Node, count: int) -> Tail:
    layers, between = [last], list[tuple[Node, ...]]()
    while len(layers) < count:
        path: list[Node] = []
        maker = _own_maker(layers[0].input(0))
        while maker is not None and maker.is_op(*_SINGLE):
            path.insert(0, maker)
            maker = _own_maker(maker.input(0))
        if maker is None or not _is_plain(maker):
            break
        layers.insert(0, maker)
        between.insert(0, tuple(path))
    return Tail(tuple(layers), tuple(between))


def _own_maker(value: Value | None) -> Node | None:
    """Return the node that makes a value, if one node alone reads it."""
    alone = value is not None and value.use_count == 1 and not value.is_output
    return value.producer if value is not None and alone else None


def _is_plain(node: Node) -> bool:
    """Whether a node is a Gemm of rows with a constant weight of its own."""
    layer = read(node) if node.is_op("Gemm") else None
    if not isinstance(layer, Layer) or layer.data_at != 0 or node.attr("transA", 0):
        return False
    weight, bias = node.input(1), node.input(2)
    if weight is None or weight.use_count > 1:
        return False
    return bias is None or (
        bias.constant is not None and bias.constant.size in (1, layer.form.outputs)
    )


def dealt(energies: Sequence[np.ndarray], groups: int, seed: int) -> list[np.ndarray]:
    """Deal the inputs of some layers, and the outputs of the last one, out to groups.

    Sides take turns, each going where most energy of the layers before and behind lies within
    groups; each layer alone gives a start (see `grouping.grouped`), the best of which counts.

    Args:
        energies: What each weight is worth, [inputs, outputs] of each layer.
        groups: Number of groups.
        seed: Draws starts.

    Returns:
        The group of each input of each layer, and of each output of the last.
    """
    found = []
    for at, energy in enumerate(energies):
        starts = [in_order(len(e), groups) for e in (*energies, energies[-1].T)]
        starts[at], starts[at + 1] = grouped(energy, groups, seed=seed)
        found.append(_settled(energies, starts, groups, at))
    return max(found, key=lambda sides: within(energies, sides))


def within(energies: Sequence[np.ndarray], sides: Sequence[np.ndarray]) -> float:
    """Return the energy that lies within groups.

    Args:
        energies: Of each layer, (inputs, outputs).
        sides: Group of each input of the first layer, (inputs,), and of the outputs of each.
    """
    pairs = zip(energies, sides, sides[1:], strict=False)
    return sum(kept(energy, ins, outs) for energy, ins, outs in pairs)


def _settled(
    energies: Sequence[np.ndarray], starts: list[np.ndarray], groups: int, first: int
) -> list[np.ndarray]:
    """Let sides take turns, from a layer outwards, until nothing moves."""
    sides, each, known = starts, np.eye(groups), {first, first + 1}
    outwards = sorted(range(len(sides)), key=lambda at: min(abs(at - first), abs(at - first - 1)))
    before = -1.0
    for _ in range(_ROUNDS):
        for at in outwards:
            gains = np.zeros((len(sides[at]), groups))
            if at and at - 1 in known:
                gains += energies[at - 1].T @ each[sides[at - 1]]
            if at < len(energies) and at + 1 in known:
                gains += energies[at] @ each[sides[at + 1]]
            sides[at] = balanced(gains, sides[at])
            known.add(at)
        after = within(energies, sides)
        if after <= before * (1 + 1e-9):
            break
        before = after
    return sides


@dataclass(frozen=True, eq=False)
class SplitEdit:
    """Splits a tail into branches.

    Attributes:
        labels: Labels of its layers.
        sides: The group of each input of each layer, and of each output of the last.
        groups: Number of groups.
    """

    labels: tuple[str, ...]
    sides: tuple[np.ndarray, ...]
    groups: int

    def apply(self, model: Model) -> bool:
        """Set what leads from group to group to zero, and put branches in place of the layers."""
        self.mask(model)
        return self.write(model)

    def tail(self, model: Model) -> Tail | None:
        """Return the tail in a model."""
        tails = find_tails(model, len(self.labels))
        return next((tail for tail in tails if tail.labels == self.labels), None)

    def mask(self, model: Model) -> None:
        """Set weights that lead from group to group to zero."""
        tail = self.tail(model)
        if tail is None:
            return
        for node, ins, outs in zip(tail.layers, self.sides, self.sides[1:], strict=False):
            layer = read(node)
            assert isinstance(layer, Layer)
            mask = ins[:, None] == outs[None]
            layer.set_weight(layer.weight * (mask.T if node.attr("transB", 0) else mask))

    def write(self, model: Model) -> bool:
        """Put branches in place of layers whose groups have nothing to do with each other."""
        tail = self.tail(model)
        if tail is None:
            return False
        graph, old = model.graph, tail.layers[-1].output
        ends = [self._branch(tail, group) for group in range(self.groups)]
        label = tail.layers[-1].label
        made = graph.add_op("Concat", ends, name=f"{label}_joined", attrs={"axis": 1}).output
        order = np.argsort(np.argsort(self.sides[-1], kind="stable"), kind="stable")
        if (order != np.arange(len(order))).any():
            index = graph.constant(f"{label}_order", order)
            made = graph.add_op(
                "Gather", [made, index], name=f"{label}_ordered", attrs={"axis": 1}
            ).output
        made.set_type(old.dtype, old.shape)
        edit.replace(old, made)
        edit.remove_dead(graph)
        graph.sort()
        return True

    def _branch(self, tail: Tail, group: int) -> Value:
        """Write the layers of a group; return what the last one makes."""
        first = tail.layers[0]
        graph = first.graph
        assert graph is not None
        taken = np.flatnonzero(self.sides[0] == group)
        index = graph.constant(f"{first.label}_inputs", taken)
        seen = graph.add_op(
            "Gather",
            [first.inputs[0], index],
            name=f"{first.label}_branch",
            attrs={"axis": 1},
        ).output
        for at, node in enumerate(tail.layers):
            given = np.flatnonzero(self.sides[at + 1] == group)
            matrix = matrix_of(node)[np.ix_(taken, given)]
            inputs = [seen, graph.constant(f"{node.label}_group", np.ascontiguousarray(matrix))]
            layer = read(node)
            assert isinstance(layer, Layer)
            if node.input(2) is not None:
                bias = np.broadcast_to(layer.bias().reshape(-1), (layer.form.outputs,))
                part = bias[given].astype(layer.weight.dtype)
                inputs.append(graph.constant(f"{node.label}_bias", part))
            seen = graph.add_op("Gemm", inputs, name=f"{node.label}_branch").output
            for single in tail.between[at] if at < len(tail.between) else ():
                attrs = dict(single.attributes)
                name = f"{single.label}_branch"
                seen = graph.add_op(single.op_type, [seen], name=name, attrs=attrs).output
            taken = given
        return seen
