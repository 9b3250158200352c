"""Putting a chain of layers in place of one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ocompress.analysis.linear_rows import Site
from ocompress.analysis.weight_form import rounded
from ocompress.ir import Graph, Value
from passes.factorization.forms import ChainForm
from passes.factorization.problem import Problem
from passes.factorization.steps import ChainLink, Step, links_of, merged, trimmed
from passes.factorization.writing import write


@dataclass(frozen=True)
class Factored:
    """A layer written as factors.

    Attributes:
        form: How.
        factors: Those of each group of the layer.
        tensors: What they stand for, group by group.
    """

    form: ChainForm
    factors: Sequence[Sequence[np.ndarray]]
    tensors: Sequence[np.ndarray]

    def matrix(self) -> np.ndarray:
        """Return what the chain stands for, (groups, inputs, outputs)."""
        return np.stack([t.reshape(-1, t.shape[-1]) for t in self.tensors])

    def links(self) -> list[Step]:
        """Return the chain that does all groups at once."""
        return trimmed(merged([self.form.links(factors) for factors in self.factors]))


def factored(
    form: ChainForm, problems: Sequence[Problem], factors: Sequence[Sequence[np.ndarray]]
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


def put(sites: Sequence[Site], steps: Sequence[Step]) -> bool:
    """Put a chain in place of layers that share a weight; biases stay with its outputs.

    The last link takes the node of the layer, so that its name stays; whatever stands last makes
    the layer's output.

    Args:
        sites: The layers.
        steps: The chain.

    Returns:
        False, with nothing changed, if the type of the weight cannot hold a factor.
    """
    weights = _weights(sites[0], steps)
    if weights is None:
        return False
    graph, old = sites[0].node.graph, sites[0].node.inputs[sites[0].layer.weight_at]
    assert graph is not None
    assert old is not None
    constants = _constants(graph, f"{old.name}_factor", links_of(steps), weights)
    before = [value for site in sites for value in site.node.inputs]
    for site in sites:
        write(site, steps, constants)
    for value in before:
        if value is None or value.use_count:
            continue
        if graph.initializers.get(value.name) is value:
            del graph.initializers[value.name]
            graph.names.release(value.name)
    return True


def holds(site: Site, steps: Sequence[Step]) -> bool:
    """Whether the type of a layer's weight can hold the factors of a chain."""
    return _weights(site, steps) is not None


def _weights(site: Site, steps: Sequence[Step]) -> list[np.ndarray] | None:
    dtype = site.layer.weight.dtype
    links = links_of(steps)
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


def _constants(
    graph: Graph, hint: str, links: Sequence[ChainLink], weights: Sequence[np.ndarray]
) -> dict[int, Value]:
    """Return the constant of each link, by its id."""
    pairs = zip(links, weights, strict=True)
    return {id(link): graph.constant(hint, weight) for link, weight in pairs}
