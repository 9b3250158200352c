"""Codebooks as moves, and models made of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ocompress.analysis.linear_rows import Site, site_of
from ocompress.ir import Model, Node, edit
from ocompress.lossy.engine import Plan
from ocompress.lossy.refit import Job
from ocompress.pipeline import Context
from passes.pruning.reordering import Moved, Reorder, put_in_order
from passes.sharing import codebooks, random_words
from passes.sharing.codebooks import CodedLayer
from passes.sharing.common_words import CommonWords
from passes.sharing.fitting import fitting
from passes.sharing.layer_problem import LayerProblem, error_of
from passes.sharing.quadratic import Quadratic
from passes.sharing.walking import Walked, read_by, walk
from passes.sharing.word_starts import BlockMetric, joined, split, start

_LARGEST = 127
"""Magnitude of a number of a word, in units of the table: files hold it in 8 bits."""
_WORTH = 1.1
"""What words of 8 bits may cost, relative to those of 16."""
_UNITS = 16
"""Numbers that a unit may be, up to a power of two: so words are exact in float16 as well, which is
shorter where they are few."""
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
        common: Words that other layers have, too; they stay as they are.
        orders: What puts channels of the model in order; all moves of a plan have the same.
    """

    readers: tuple[str, ...]
    index: int
    block: int
    count: int
    curvature: np.ndarray | None
    seed: int = 0
    common: CommonWords | None = None
    orders: tuple[Reorder, ...] = ()

    @property
    def seen(self) -> bool:
        """Whether data tell what the layer reads."""
        return self.curvature is not None

    def apply(self, model: Model) -> bool:
        """Give each block the nearest word by k-means; channels are in order already."""
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


def build(model: Model, plan: Plan, ctx: Context | None) -> Walked[Encoded]:
    """Return the model with weights made of words.

    Args:
        model: Not changed.
        plan: The moves.
        ctx: Has the data that layers are fitted to; None goes by the weights alone.
    """
    orders = orders_of(plan)
    subject = clone_in_order(model, orders)[0] if orders else model
    return walk(subject, plan, Encode, ctx, _job, encode_alone)


def orders_of(plan: Plan) -> tuple[Reorder, ...]:
    """Return what puts channels in order before the moves of a plan."""
    return next((m.edit.orders for m in plan.values() if isinstance(m.edit, Encode)), ())


def clone_in_order(model: Model, orders: Sequence[Reorder]) -> tuple[Model, dict[int, Node], Moved]:
    """Return a clone with its channels in order, its nodes by id of the model's, and what moved."""
    clone = model.clone()
    twins = {id(a): b for (_, a), (_, b) in zip(model.nodes(), clone.nodes(), strict=True)}
    return clone, twins, put_in_order(clone, orders)


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
    given = site.matrix(weight.array.astype(np.float64))
    matrix, words = nearest(given, weight.array.dtype, move, None)
    edit.set_weight(weight.value, site.weight(matrix).astype(weight.array.dtype))
    return Encoded(move.block, words)


def nearest(
    matrix: np.ndarray,
    dtype: np.dtype[Any],
    move: Encode,
    metric: BlockMetric | None,
    some: slice = slice(None),
) -> tuple[np.ndarray, int]:
    """Return a weight in words, each block by itself, and their number.

    Args:
        matrix: The weight, (groups, inputs, outputs).
        dtype: Its type.
        move: Says which words.
        metric: What errors cost; None if all cost alike.
        some: Outputs that words are fitted to.
    """
    if move.common is not None:
        return move.common.nearest(matrix, metric)
    blocks = split(matrix, move.block)
    metric = metric or BlockMetric.plain(*blocks.shape)
    idle = codebooks.idle_blocks(matrix != 0, move.block)
    fitted = start([(blocks[:, :, some], metric.of_outputs(some))], move.count, move.seed)
    words = codebooks.with_zero(fitted, idle)
    words, codes = _nearest_in_few_bits(words, dtype, blocks, metric)
    if idle is not None:
        codes[idle] = 0
    return joined(words[codes]), len(np.unique(codes))


def in_a_byte(words: np.ndarray, dtype: np.dtype[Any]) -> np.ndarray | None:
    """Return words as whole numbers of 8 bits times one unit; None if their type rounds those."""
    mantissa, exponent = np.frexp(float(np.abs(words).max(initial=0.0)) / _LARGEST)
    unit = float(np.ldexp(np.ceil(mantissa * _UNITS) / _UNITS, exponent))
    if dtype != np.float32 or unit <= np.finfo(np.float32).tiny:
        return None
    return np.asarray(np.rint(words / unit) * unit) + 0.0


def rounded(words: np.ndarray, dtype: np.dtype[Any]) -> np.ndarray:
    """Return words in numbers of 16 bits, where these are as precise as they can be."""
    least, most = _HALF
    if least <= np.abs(words).max(initial=0.0) <= most:
        return words.astype(np.float16).astype(np.float64) + 0.0
    return words.astype(dtype).astype(np.float64)


def _nearest_in_few_bits(
    words: np.ndarray, dtype: np.dtype[Any], blocks: np.ndarray, metric: BlockMetric
) -> tuple[np.ndarray, np.ndarray]:
    """Return words of 8 or 16 bits a number, and which one each block is."""
    long = rounded(words, dtype)
    codes, costs = metric.nearest(blocks, long)
    short = in_a_byte(words, dtype)
    if short is not None:
        anew, more = metric.nearest(blocks, short)
        if more.sum() <= _WORTH * costs.sum():
            return short, anew
    return long, codes


def in_few_bits(problem: LayerProblem, coded: CodedLayer, dtype: np.dtype[Any]) -> CodedLayer:
    """Return a layer with words of 8 bits a number, or of 16 where 8 would cost much more.

    Args:
        problem: The layer.
        coded: It, in words of any numbers.
        dtype: Type of its weight.
    """
    long = replace(coded, words=rounded(coded.words, dtype))
    short = in_a_byte(coded.words, dtype)
    if short is None:
        return long
    found = codebooks.chosen_anew(problem, replace(coded, words=short))
    worth = error_of(problem, found.matrix) <= _WORTH * error_of(problem, long.matrix)
    return found if worth else long


def _job(part: str, move: Encode, nodes: Sequence[Node], made: dict[str, Encoded]) -> Job:
    """Return the job that fits a layer, and makes it of words."""
    assert move.curvature is not None

    def solve(problem: LayerProblem, site: Site) -> tuple[np.ndarray, Encoded]:
        if move.common is not None:
            return _in_common(problem, move.common)
        coded, _ = codebooks.encode(problem, move.block, move.count, move.seed)
        coded = in_few_bits(problem, coded, site.layer.weight.dtype)
        error = error_of(problem, coded.matrix)
        return coded.matrix, Encoded(move.block, len(np.unique(coded.codes)), error)

    return fitting(part, move, nodes, made, move.curvature, solve)


def _in_common(problem: LayerProblem, common: CommonWords) -> tuple[np.ndarray, Encoded]:
    """Return a weight in words that other layers have, too, and what became of it."""
    own = Quadratic(problem.target, problem.hessian, problem.curvature)
    found = random_words.solve(own, common.table, tall=True, unit=common.unit)
    used, block = len(np.unique(found.chosen)), common.table.shape[1]
    return found.matrix, Encoded(block, used, own.cost(found.matrix))


def described(made: Encoded) -> dict[str, Any]:
    """Return what the report says of a weight."""
    return {"block": made.block, "codewords": made.words}
