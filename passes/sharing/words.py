"""Codebooks as moves, and models made of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ocompress.analysis.linear_rows import Site, bias_place, site_of
from ocompress.analysis.regression import RegressionSums
from ocompress.ir import Model, Node, edit
from ocompress.lossy.engine import Plan
from ocompress.lossy.layer_weights import LayerWeight
from ocompress.lossy.least_squares import Fit
from ocompress.lossy.refit import Built, Job, stored
from ocompress.pipeline import Context
from passes.sharing import codebooks
from passes.sharing.codebooks import Coded
from passes.sharing.layer_problem import layer_problem, relative_error
from passes.sharing.walking import read_by, walk
from passes.sharing.word_starts import BlockMetric, joined, split, start

_HALF = 1e-3, 6e4
"""Largest magnitudes of words that float16 holds as precisely as it holds any."""


@dataclass(frozen=True, eq=False)
class Encode:
    """Makes a weight of words.

    Attributes:
        readers: Labels of the nodes that read the weight.
        index: Input of the first of them.
        block: Neighbouring inputs, or taps of a kernel, in a word.
        count: Words.
        curvature: What errors of outputs cost; None if data do not tell.
        seed: Draws.
    """

    readers: tuple[str, ...]
    index: int
    block: int
    count: int
    curvature: np.ndarray | None
    seed: int = 0

    @property
    def seen(self) -> bool:
        """Whether data tell what the layer reads."""
        return self.curvature is not None

    def apply(self, model: Model) -> bool:
        """Give each block the nearest word by k-means."""
        return encode_alone(model, self) is not None


@dataclass(frozen=True)
class Encoded:
    """What became of a weight.

    Attributes:
        block: Weights of a word.
        words: Different words.
        error: What the layer costs at the model's outputs, as far as that is known.
    """

    block: int
    words: int
    error: float | None = None


@dataclass(frozen=True)
class BuiltWords(Built):
    """A model made of words.

    Attributes:
        rows: What became of each part.
    """

    rows: Mapping[str, Encoded] = field(default_factory=dict)


def build(model: Model, plan: Plan, ctx: Context | None) -> BuiltWords:
    """Return the model with weights made of words.

    Args:
        model: Not changed.
        plan: The moves.
        ctx: Has the data that layers are fitted to; None goes by the weights alone.
    """
    edits = {part: m.edit for part, m in plan.items() if isinstance(m.edit, Encode)}
    clone, fits, made = walk(model, edits, ctx, _job, encode_alone)
    return BuiltWords(clone, fits, frozenset(made), made)


def encode_alone(model: Model, move: Encode) -> Encoded | None:
    """Give each block the nearest word by k-means.

    Args:
        model: Changed in place.
        move: The weight and its words.

    Returns:
        What became of it; None if there is no such weight.
    """
    weight = read_by(model, move)
    site = site_of(weight.nodes[0]) if weight is not None else None
    if weight is None or not isinstance(site, Site):
        return None
    coded = nearest(site, weight, move, None)
    array = site.weight(coded.matrix).astype(weight.array.dtype)
    edit.set_weight(weight.value, array)
    return Encoded(move.block, len(np.unique(coded.codes)))


def nearest(site: Site, weight: LayerWeight, move: Encode, metric: BlockMetric | None) -> Coded:
    """Return a weight in words, each block by itself.

    Args:
        site: Its layer.
        weight: The weight.
        move: Says which words.
        metric: What errors cost; None if all cost alike.
    """
    blocks = split(site.matrix(weight.array.astype(np.float64)), move.block)
    metric = metric or BlockMetric.plain(*blocks.shape)
    words = start(blocks, metric, move.count, move.seed)
    return Coded(rounded(words, weight.array.dtype), metric.nearest(blocks, words)[0])


def rounded(words: np.ndarray, dtype: np.dtype[Any]) -> np.ndarray:
    """Return words in numbers of 16 bits, where these are as precise as they can be."""
    least, most = _HALF
    if least <= np.abs(words).max(initial=0.0) <= most:
        return words.astype(np.float16).astype(np.float64) + 0.0
    return words.astype(dtype).astype(np.float64)


def _job(part: str, move: Encode, nodes: Sequence[Node], made: dict[str, Encoded]) -> Job:
    """Return the job that fits a layer, and makes it of words."""
    value = nodes[0].inputs[move.index]
    assert value is not None
    assert value.data is not None
    original = value.data
    assert move.curvature is not None
    curvature = move.curvature

    def store(sites: Sequence[Site], fit: Fit, sums: RegressionSums | None) -> Fit | None:
        whole = sums.whole() if sums is not None else None
        if whole is None:
            return None
        if bias_place(sites[0]) is None:
            whole = whole.about_zero()
        problem = layer_problem(sites[0], original, fit, whole, curvature)
        coded, error = codebooks.encode(problem, move.block, move.count, move.seed)
        matrix = joined(rounded(coded.words, original.dtype)[coded.codes])
        if not np.isfinite(matrix).all():
            return None
        bias = whole.bias(matrix) if bias_place(sites[0]) is not None else np.zeros_like(whole.y)
        after = relative_error(whole, matrix, bias, curvature)
        fitted = stored(sites, replace(fit, matrix=matrix, bias=bias, after=after))
        if fitted is not None:
            made[part] = Encoded(move.block, len(np.unique(coded.codes)), error)
        return fitted

    return Job(nodes, masked=False, store=store)


def details(weights: Sequence[LayerWeight], plan: Plan, built: BuiltWords) -> list[dict[str, Any]]:
    """Return a row for every weight that was looked at.

    Args:
        weights: The weights.
        plan: The moves.
        built: What came of them.
    """
    found = []
    for weight in weights:
        row: dict[str, Any] = {"name": weight.name, "weights": weight.array.size}
        made = built.rows.get(weight.name)
        if made is not None:
            row |= {"block": made.block, "codewords": made.words}
            row["bits"] = 8 * plan[weight.name].bytes / weight.array.size
            if made.error is not None:
                row["predicted_error"] = made.error
        fit = next((built.fits[n.label] for n in weight.nodes if n.label in built.fits), None)
        if fit is not None:
            row |= {"output_error": fit.before, "refitted_error": fit.after}
        found.append(row)
    return found
