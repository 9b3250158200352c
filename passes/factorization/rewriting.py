"""Putting a chain of layers in place of one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ocompress.analysis.linear_rows import Site
from ocompress.analysis.weight_form import rounded
from ocompress.ir import Value
from passes.factorization.forms import Form, Link
from passes.factorization.problem import Problem


@dataclass(frozen=True)
class Factored:
    """A layer written as factors.

    Attributes:
        form: How.
        factors: Those of each group of the layer.
        tensors: What they stand for, group by group.
    """

    form: Form
    factors: Sequence[Sequence[np.ndarray]]
    tensors: Sequence[np.ndarray]

    def matrix(self) -> np.ndarray:
        """Return what the chain stands for, (groups, inputs, outputs)."""
        return np.stack([t.reshape(-1, t.shape[-1]) for t in self.tensors])

    def links(self) -> list[Link]:
        """Return the chain that does all groups at once."""
        each = [self.form.links(factors) for factors in self.factors]
        if len(each) == 1:
            return each[0]
        return [
            Link(
                np.concatenate([link.weight for link in same]),
                sum(link.groups for link in same),
                same[0].walks,
            )
            for same in zip(*each, strict=True)
        ]


def factored(
    form: Form, problems: Sequence[Problem], factors: Sequence[Sequence[np.ndarray]]
) -> Factored:
    """Return the chain of factors whose outputs the problems have scaled."""
    plain, tensors = [], []
    for problem, every in zip(problems, factors, strict=True):
        seen = form.sees(problem)
        found = form.plain(seen, every)
        plain.append(found)
        tensors.append(form.approximation(seen, found))
    return Factored(form, plain, tensors)


def flattens(site: Site) -> bool:
    """Whether what a product of matrices reads is flattened before it, sample by sample."""
    data, layer = site.layer.data, site.layer
    maker = data.producer
    if site.window is not None or layer.data_at != 0 or site.node.attr("transA", 0):
        return False
    if maker is None or data.rank != 2:
        return False
    if maker.is_op("Flatten"):
        return int(maker.attr("axis", 1)) == 1
    source = maker.inputs[0] if maker.is_op("Reshape") else None
    before = None if source is None else source.shape
    return bool(
        before and data.shape and len(before) > len(data.shape) and before[0] == data.shape[0]
    )


def put(sites: Sequence[Site], links: Sequence[Link]) -> bool:
    """Put a chain in place of layers that share a weight; biases stay with the last link.

    The last link takes the node of the layer, so that its name, its output and its bias stay.

    Args:
        sites: The layers.
        links: The chain.

    Returns:
        False, with nothing changed, if the type of the weight cannot hold a factor.
    """
    weights = _weights(sites[0], links)
    if weights is None:
        return False
    graph, old = sites[0].node.graph, sites[0].node.inputs[sites[0].layer.weight_at]
    assert graph is not None
    assert old is not None
    constants = _constants(sites[0], weights)
    for site in sites:
        _rewrite(site, links, constants)
    if not old.use_count and graph.initializers.get(old.name) is old:
        del graph.initializers[old.name]
        graph.names.release(old.name)
    return True


def _weights(site: Site, links: Sequence[Link]) -> list[np.ndarray] | None:
    dtype = site.layer.weight.dtype
    found = []
    for at, link in enumerate(links):
        weight = link.weight
        if link.mode is not None:
            weight = weight if link.mode else weight.T
        elif site.window is None:
            weight = site.weight(weight.T[None])
        elif site.transposed and at == len(links) - 1:
            weight = _turned(weight, link.groups)
        exact = rounded(np.ascontiguousarray(weight), dtype)
        if exact is None:
            return None
        found.append(exact)
    return found


def _turned(weight: np.ndarray, groups: int) -> np.ndarray:
    """Return the weight of a Conv in the layout of a ConvTranspose."""
    split = weight.reshape(groups, -1, *weight.shape[1:])
    turned = np.moveaxis(split, 2, 1)
    return turned.reshape(-1, *turned.shape[2:])


def _constants(site: Site, weights: Sequence[np.ndarray]) -> list[Value]:
    graph, layer = site.node.graph, site.layer
    assert graph is not None
    old = site.node.inputs[layer.weight_at]
    assert old is not None
    return [graph.constant(f"{old.name}_factor", weight) for weight in weights]


def _rewrite(site: Site, links: Sequence[Link], constants: Sequence[Value]) -> None:
    node, layer = site.node, site.layer
    graph = node.graph
    assert graph is not None
    seen = layer.data
    modes = sum(link.mode is not None for link in links)
    if modes:
        seen = _unflattened(site, links[:modes], constants[:modes])
    for link, constant in zip(links[modes:-1], constants[modes:-1], strict=True):
        inputs = [seen, constant] if layer.data_at == 0 else [constant, seen]
        name = graph.names.fresh(f"{node.label}_factor")
        added = graph.add_op(_op_type(site), inputs, name=name, attrs=_attributes(site, link))
        seen = added.output
    last = links[-1]
    node.set_input(layer.data_at, seen)
    node.set_input(layer.weight_at, constants[-1])
    if site.window is not None:
        for key, value in _attributes(site, last, last=True).items():
            node.set_attr(key, value)
        node.set_attr("auto_pad", None)
    elif node.is_op("Gemm"):
        node.set_attr("alpha", None)
        node.set_attr("transA" if layer.data_at == 0 else "transB", None)


def _unflattened(site: Site, links: Sequence[Link], constants: Sequence[Value]) -> Value:
    """Apply matrices to the axes of what is flattened before the layer, and flatten that."""
    node = site.node
    graph, flatten = node.graph, site.layer.data.producer
    assert graph is not None
    assert flatten is not None
    seen = flatten.inputs[0]
    for link, constant in zip(links, constants, strict=True):
        inputs = [constant, seen] if link.mode else [seen, constant]
        name = graph.names.fresh(f"{node.label}_factor")
        seen = graph.add_op("MatMul", inputs, name=name).output
    name = graph.names.fresh(f"{node.label}_flat")
    return graph.add_op("Flatten", [seen], name=name, attrs={"axis": 1}).output


def _op_type(site: Site) -> str:
    return "Conv" if site.window is not None else site.node.op_type


def _attributes(site: Site, link: Link, *, last: bool = False) -> dict[str, object]:
    """Return the attributes of a link's operator."""
    if site.window is None:
        return dict(site.node.attributes) | {"beta": None} if site.node.is_op("Gemm") else {}
    window = site.window
    walks = link.walks
    found: dict[str, object] = {
        "kernel_shape": list(link.weight.shape[2:]),
        "group": link.groups,
        "strides": [s if w else 1 for s, w in zip(window.strides, walks, strict=True)],
        "dilations": [d if w else 1 for d, w in zip(window.dilations, walks, strict=True)],
        "pads": [
            pad[side] if w else 0
            for side in (0, 1)
            for pad, w in zip(window.pads, walks, strict=True)
        ],
    }
    if last and site.transposed and not all(walks):
        msg = f"{site.node.label}: the last link must walk like the layer"
        raise ValueError(msg)
    return found
