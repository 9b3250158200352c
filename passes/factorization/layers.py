"""The layers that could be written as chains, and all there is to know of each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from ocompress.analysis.linear_layer import Refusal
from ocompress.analysis.linear_rows import MOST_INPUTS, Site, bias_place
from ocompress.analysis.regression import Regression
from ocompress.analysis.shapes import observe_shapes, with_shapes
from ocompress.analysis.work import one_sample, work_of
from ocompress.diagnostics import Severity
from ocompress.io import Feeds
from ocompress.ir import Model, Node, Value
from ocompress.lossy import input_moments
from ocompress.lossy.fisher import curvature, curvature_parts
from ocompress.lossy.layer_weights import LayerWeight, sites_of
from ocompress.pipeline import Context
from passes.factorization.problem import Problem, pose
from passes.factorization.rewriting import flattens

_OPSET = 11
"""Lowest version of the operators that chains are written in."""

Shapes = Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]]
"""Of values, by name: for one sample, and in the call that is timed."""


@dataclass(frozen=True)
class LayerGroup:
    """Layers that share a weight.

    Attributes:
        sites: The layers, in order of execution.
        shape: What the first one reads, for one sample; what is flattened before it, if it is.
        called: The same in the call of the model that is timed, of as many samples as that has.
        macs: Multiply-accumulates of all of them, for one sample.
        problems: One for each group.
        mean: Mean of what they read, (groups, inputs); None without data.
        parts: The problems that a part of the samples poses, and those of the part left out; none
            where there are enough samples.
        judges: Rows of the part left out.
    """

    sites: Sequence[Site]
    shape: tuple[int, ...]
    called: tuple[int, ...]
    macs: float
    problems: Sequence[Problem]
    mean: np.ndarray | None
    parts: Sequence[tuple[Problem, Problem]] = ()
    judges: int = 0

    @property
    def site(self) -> Site:
        """The first layer."""
        return self.sites[0]

    @property
    def name(self) -> str:
        """What it is called."""
        return self.site.node.label

    @cached_property
    def curvature(self) -> np.ndarray:
        """What errors of outputs cost, one array for all chains, (groups, outputs[, outputs])."""
        return np.stack([p.curvature for p in self.problems])

    @property
    def kernel(self) -> tuple[int, ...]:
        """Taps along each spatial axis; empty for products of matrices."""
        return () if self.site.window is None else self.site.window.kernel


def problems_of(
    site: Site,
    matrix: np.ndarray,
    sums: Regression | None,
    curvature: np.ndarray | None,
    shape: Sequence[int] | None = None,
) -> list[Problem]:
    """Pose the problem of each group of a layer.

    Args:
        site: The layer.
        matrix: What is approximated, (groups, inputs, outputs).
        sums: What is known of the inputs; None without data.
        curvature: What errors of outputs cost, (groups, outputs, outputs) in pairs or (groups,
            outputs); None if all count alike.
        shape: What is flattened before the layer, if it is.
    """
    kernel = () if site.window is None else site.window.kernel
    grid = () if shape is None or not flattens(site) else tuple(shape[1:])
    taps = int(np.prod(kernel))
    if sums is not None and bias_place(site) is None:
        sums = sums.about_zero()
    found = []
    for at, one in enumerate(matrix):
        tensor = one.reshape(site.inputs // taps, *kernel, site.outputs)
        metric = None if sums is None else sums.xx[at]
        found.append(pose(tensor, metric, None if curvature is None else curvature[at], grid))
    return found


def is_too_old(model: Model, ctx: Context) -> bool:
    """Whether a model is older than the operators that chains are written in; then say so."""
    old = 0 < model.opset < _OPSET
    if old:
        why = (
            f"opset {model.opset} has no Gemm without a bias and no Slice by inputs; canonicalize "
            "upgrades it, or says what keeps it there"
        )
        ctx.remark(Severity.DECLINED, "old-opset", why)
    return old


def survey(
    model: Model, weights: Sequence[LayerWeight], ctx: Context, *, blind: bool = False
) -> Iterator[LayerGroup]:
    """Collect input moments and curvature of layers; say which layers cannot be measured.

    Args:
        model: The model as it is.
        weights: Constants of linear layers with the nodes that read them.
        ctx: Has the data, if there are any.
        blind: Whether to go by the weights alone all the same.

    Yields:
        Layer after layer, in order of execution; each holds what is large only while it is used.
    """
    sample = one_sample(model, ctx.analyses.data)
    shapes = _seen(model, [n for w in weights for n in w.nodes], sample, ctx)
    work = work_of(model, sample)
    seen: list[tuple[LayerWeight, list[Site]]] = []
    for weight in weights:
        sites = _sites(weight, model, shapes)
        if isinstance(sites, Refusal):
            ctx.skip_each(weight.nodes, sites.code, sites.why)
        else:
            seen.append((weight, sites))
    if blind or not ctx.has_data:
        yield from (_layer(sites, shapes, work, None, None) for _, sites in seen)
        return
    every = [s for _, sites in seen for s in sites]
    curvatures, halves = curvature(model, every, ctx), curvature_parts(model, every, ctx)
    narrow = []
    for weight, sites in seen:
        if sites[0].inputs <= MOST_INPUTS:
            narrow.append((weight, sites))
        else:
            why = f"{sites[0].inputs} inputs are too many to look at pairs of"
            ctx.skip_each(weight.nodes, "too-wide", why)
    for _, sites, sums in input_moments.look(model, narrow, ctx):
        layer = _layer(sites, shapes, work, sums, _curvature_of(sites, sums, curvatures))
        judges = sums.parts[1].count if sums is not None and sums.parts is not None else 0
        yield replace(layer, parts=_parts(layer, sums, halves), judges=judges)


def _parts(
    layer: LayerGroup, sums: Regression | None, halves: Mapping[str, tuple[np.ndarray, np.ndarray]]
) -> list[tuple[Problem, Problem]]:
    """Return what each part of few samples poses, for each group; none of enough samples."""
    if sums is None or sums.parts is None:
        return []
    matrix = layer.site.matrix(layer.site.layer.weight.astype(np.float64))
    posed = []
    for at, part in enumerate(sums.parts):
        curvature = _curvature_of(
            layer.sites, part, {name: both[at] for name, both in halves.items()}
        )
        posed.append(problems_of(layer.site, matrix, part, curvature, layer.shape))
    return list(zip(*posed, strict=True))


def _seen(model: Model, nodes: Sequence[Node], sample: Feeds | None, ctx: Context) -> Shapes:
    """Return the shapes of values for one sample, and in the call that is timed."""
    shapes = _shapes(model, nodes, sample)
    call = sample if ctx.clock is None else ctx.timed_feeds
    if call is None or _extents(call) == _extents(sample or {}):
        return {name: (shape, shape) for name, shape in shapes.items()}
    called = _shapes(model, nodes, call)
    return {name: (shape, called[name]) for name, shape in shapes.items() if name in called}


def _extents(feeds: Feeds) -> dict[str, tuple[int, ...]]:
    return {name: array.shape for name, array in feeds.items()}


def _layer(
    sites: Sequence[Site],
    shapes: Shapes,
    work: Mapping[int, float],
    sums: Regression | None,
    curvature: np.ndarray | None,
) -> LayerGroup:
    site = sites[0]
    matrix = site.matrix(site.layer.weight.astype(np.float64))
    if curvature is None:  # relative to what the layer makes, or layers could not be compared
        metric = None if sums is None else sums.about_zero().xx
        made = matrix if metric is None else metric @ matrix
        each = 1 / max(float((matrix * made).sum()), 1e-30)
        curvature = np.full((site.groups, site.outputs), each)
    total = sum(work.get(id(s.node), 0.0) for s in sites)
    shape, called = shapes[_read(site).name]
    problems = problems_of(site, matrix, sums, curvature, shape)
    mean = None if sums is None else sums.x
    return LayerGroup(sites, shape, called, total, problems, mean)


def _read(site: Site) -> Value:
    """Return what a layer reads, before it is flattened."""
    data = site.layer.data
    if data.producer is not None and flattens(site):
        source = data.producer.inputs[0]
        assert source is not None
        return source
    return data


def _curvature_of(
    sites: Sequence[Site], sums: Regression | None, curvatures: Mapping[str, np.ndarray]
) -> np.ndarray | None:
    known = [curvatures[s.node.output.name] for s in sites if s.node.output.name in curvatures]
    if sums is None or len(known) != len(sites):
        return None
    total: np.ndarray = np.sum(known, axis=0)
    return total


def _shapes(
    model: Model, nodes: Sequence[Node], sample: Feeds | None
) -> dict[str, tuple[int, ...]]:
    given = _extents(sample or {})
    inner = [n for n in nodes if n.graph is model.graph]
    makers = [v.producer for n in inner for v in n.inputs if v is not None and v.producer]
    typed = with_shapes(model, given)
    wanted = {n.label for n in (*inner, *makers)}
    twins = [n for n in typed.graph.nodes if n.label in wanted]
    return observe_shapes(typed, twins, given, sample)


def _sites(weight: LayerWeight, model: Model, shapes: Shapes) -> list[Site] | Refusal:
    found = sites_of(weight.nodes, model)
    if isinstance(found, Refusal):
        return found
    if any(_read(site).name not in shapes for site in found):
        return Refusal("unknown-shape", "the shape of what it reads is not known")
    first = found[0]
    alike = {(s.inputs, s.outputs, s.groups, s.window and s.window.kernel) for s in found}
    if len(alike) > 1 or any(s.node.op_type != first.node.op_type for s in found):
        return Refusal("shared-weight", "its readers use the weight in different ways")
    if len(found) == 1:
        return found
    order = {id(n): at for at, n in enumerate(model.graph.nodes)}
    return sorted(found, key=lambda s: order[id(s.node)])
