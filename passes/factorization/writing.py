"""Writing the steps of a chain as nodes, each kind in its own way."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ocompress.analysis.linear_rows import Site
from ocompress.ir import Graph, Node, Value
from passes.factorization.steps import (
    ChainLink,
    Fork,
    Pick,
    ShuffleStep,
    Step,
    is_identity,
    links_of,
    tails,
)

FACTOR, FLAT = "_factor", "_flat"
"""What names of nodes of a chain have behind the label of the layer, and a number perhaps."""


def layer_of(label: str, layers: Container[str]) -> str | None:
    """Return the layer whose chain a node belongs to that stands before the layer's own node.

    Args:
        label: Label of the node.
        layers: Labels of layers; None is returned for nodes of no chain of theirs.
    """
    for mark in (FACTOR, FLAT):
        at = label.rfind(mark)
        while at >= 0 and label[:at] not in layers:
            at = label.rfind(mark, 0, at)
        if at >= 0:
            return label[:at]
    return None


def write(site: Site, steps: Sequence[Step], constants: Mapping[int, Value]) -> None:
    """Write a chain in place of a layer.

    Args:
        site: The layer; its node becomes the last link.
        steps: The chain.
        constants: The weight of each link, by its id.
    """
    node = site.node
    graph = node.graph
    assert graph is not None
    links = links_of(steps)
    modes = [link for link in links if link.mode is not None]
    writer = _Writer(site, graph, links[-1], constants, _biases(site, graph, steps))
    made = node.output
    if not isinstance(steps[-1], ChainLink):
        inner = Value(graph.names.fresh(f"{node.label}{FACTOR}"))
        node.outputs[0], inner.producer = inner, node
    seen = site.layer.data
    if modes:
        seen = writer.unflattened(modes)
    for step in steps[len(modes) :]:
        seen = writer.step(step, seen)
    maker = seen.producer
    assert maker is not None
    maker.outputs[0], made.producer = made, maker


def _biases(site: Site, graph: Graph, steps: Sequence[Step]) -> dict[int, Value]:
    """Return what is added to each link whose outputs are the chain's, in its own order."""
    at = site.layer.bias_at
    value = None if at is None else site.node.input(at)
    if value is None or isinstance(steps[-1], ChainLink):
        return {}  # there is none, or it stays where it is
    found = {}
    for link, order in tails(steps, np.arange(site.layer.form.outputs)):
        if value.constant is not None:
            part = graph.constant(f"{value.name}_part", value.constant[order])
        else:
            index = graph.constant(f"{site.node.label}_order", order)
            part = graph.add_op("Gather", [value, index], name=f"{site.node.label}_bias").output
        found[id(link)] = part
    return found


@dataclass(frozen=True)
class _Writer:
    """Writes steps.

    Attributes:
        site: The layer.
        graph: Its graph.
        last: The link that takes the node of the layer.
        constants: The weight of each link, by its id.
        biases: What is added to the outputs of links, by their id, where it was moved.
    """

    site: Site
    graph: Graph
    last: ChainLink
    constants: Mapping[int, Value]
    biases: Mapping[int, Value]

    def step(self, step: Step, seen: Value) -> Value:
        """Write one step behind a value; return what it makes."""
        if isinstance(step, ChainLink):
            return self._link(step, seen)
        if isinstance(step, ShuffleStep):
            return self._shuffle(step, seen)
        if isinstance(step, Pick):
            return self._picked(seen, step.channels)
        return self._fork(step, seen)

    def unflattened(self, links: Sequence[ChainLink]) -> Value:
        """Apply matrices to the axes of what is flattened before the layer, and flatten that."""
        flatten = self.site.layer.data.producer
        assert flatten is not None
        seen = flatten.inputs[0]
        for link in links:
            constant = self.constants[id(link)]
            seen = self._op("MatMul", [constant, seen] if link.mode else [seen, constant])
        name = self.graph.names.fresh(f"{self.site.node.label}{FLAT}")
        return self.graph.add_op("Flatten", [seen], name=name, attrs={"axis": 1}).output

    def _link(self, link: ChainLink, seen: Value) -> Value:
        site, layer = self.site, self.site.layer
        seen = self._cropped(link, seen)
        constant, bias = self.constants[id(link)], self.biases.get(id(link))
        if link is not self.last:
            inputs = [seen, constant] if layer.data_at == 0 else [constant, seen]
            kind = "Conv" if site.window is not None else site.node.op_type
            more = [] if bias is None else [bias]
            return self._op(kind, [*inputs, *more], _attributes(site, link))
        node = site.node
        node.set_input(layer.data_at, seen)
        node.set_input(layer.weight_at, constant)
        if bias is not None:
            assert layer.bias_at is not None
            node.set_input(layer.bias_at, bias)
        _settle(site, link)
        return node.output

    def _cropped(self, link: ChainLink, seen: Value) -> Value:
        """Cut away what a link of one tap would see and must not: its padding is negative."""
        pads = _pads(self.site, link)
        before, after = ([max(0, -pad[side]) for pad in pads] for side in (0, 1))
        if not any((*before, *after)):
            return seen
        ends = [-cut if cut else np.iinfo(np.int64).max for cut in after]
        axes = list(range(2, 2 + len(pads)))
        label = self.site.node.label
        more = [self.graph.constant(f"{label}_crop", np.array(x)) for x in (before, ends, axes)]
        return self._op("Slice", [seen, *more])

    def _shuffle(self, step: ShuffleStep, seen: Value) -> Value:
        """Reshape, Transpose, Reshape; a Gather where extents are not known."""
        extents = self._extents()
        if sum(x is None for x in extents) > 1:
            return self._picked(seen, step.order())
        outer = [step.outer] if step.outer > 1 else []
        split = [0, *outer, step.rows, step.columns, -1]
        turned = [0, 1, 3, 2, 4] if outer else [0, 2, 1, 3]
        channels = step.outer * step.rows * step.columns * step.width
        joined = [0, channels, *(-1 if x is None else x for x in extents)]
        seen = self._op("Reshape", [seen, self._shape(split)])
        seen = self._op("Transpose", [seen], {"perm": turned})
        return self._op("Reshape", [seen, self._shape(joined)])

    def _extents(self) -> list[int | None]:
        """Return the spatial extents of what the layer makes; None where one is not known."""
        window, shape = self.site.window, self.site.layer.data.shape
        assert window is not None
        rank = len(window.kernel)
        spatial = (None,) * rank if shape is None else shape[2:]
        known = [x if isinstance(x, int) else None for x in spatial]
        made = window.extents([1, 1, *(x or 0 for x in known)])
        return [None if x is None else y for x, y in zip(known, made, strict=True)]

    def _fork(self, step: Fork, seen: Value) -> Value:
        ends = []
        for branch in step.branches:
            end = seen
            for inner in branch:
                end = self.step(inner, end)
            ends.append(end)
        joined = self._op("Concat", ends, {"axis": 1})
        return joined if is_identity(step.order) else self._picked(joined, step.order)

    def _picked(self, seen: Value, channels: np.ndarray) -> Value:
        index = self.graph.constant(f"{self.site.node.label}_order", channels.astype(np.int64))
        return self._op("Gather", [seen, index], {"axis": 1})

    def _shape(self, extents: Sequence[int]) -> Value:
        return self.graph.constant(f"{self.site.node.label}_shape", np.array(extents, np.int64))

    def _op(
        self,
        op_type: str,
        inputs: Sequence[Value | None],
        attrs: Mapping[str, object] | None = None,
    ) -> Value:
        name = self.graph.names.fresh(f"{self.site.node.label}{FACTOR}")
        return self.graph.add_op(op_type, inputs, name=name, attrs=dict(attrs or {})).output


def _settle(site: Site, link: ChainLink) -> None:
    """Give the node of the layer the attributes of the last link."""
    node: Node = site.node
    if site.window is not None:
        if site.transposed and not all(link.walks):
            msg = f"{node.label}: the last link must walk like the layer"
            raise ValueError(msg)
        for key, value in _attributes(site, link).items():
            node.set_attr(key, value)
        node.set_attr("auto_pad", None)
    elif node.is_op("Gemm"):
        node.set_attr("alpha", None)
        node.set_attr("transA" if site.layer.data_at == 0 else "transB", None)


def _pads(site: Site, link: ChainLink) -> list[tuple[int, int]]:
    """Return what a link pads with before and after, along each spatial axis."""
    window = site.window
    if window is None:
        return []
    if link.tap is None:
        pairs = zip(window.pads, link.walks, strict=True)
        return [pad if walks else (0, 0) for pad, walks in pairs]
    every = zip(window.pads, link.tap, window.kernel, window.dilations, strict=True)
    return [(pad[0] - tap * d, pad[1] - (k - 1 - tap) * d) for pad, tap, k, d in every]


def _attributes(site: Site, link: ChainLink) -> dict[str, object]:
    """Return the attributes of a link's operator."""
    if site.window is None:
        return dict(site.node.attributes) | {"beta": None} if site.node.is_op("Gemm") else {}
    window = site.window
    walks = link.walks
    pads = _pads(site, link)
    return {
        "kernel_shape": list(link.weight.shape[2:]),
        "group": link.groups,
        "strides": [s if w else 1 for s, w in zip(window.strides, walks, strict=True)],
        "dilations": [
            d if w and link.tap is None else 1 for d, w in zip(window.dilations, walks, strict=True)
        ],
        "pads": [max(0, pad[side]) for side in (0, 1) for pad in pads],
    }
