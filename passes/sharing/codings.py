"""Which codebooks weights could have, and what each would cost."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ocompress.analysis.linear_layer import Refusal
from ocompress.analysis.linear_rows import Site
from ocompress.ir import Model
from ocompress.lossy.ablation import Change, Factors, Trial, tried
from ocompress.lossy.engine import Plan, Reason
from ocompress.lossy.layer_weights import LayerWeight, sites_of
from ocompress.pipeline import Context
from ocompress.planning import KEEP, Move, MoveTable
from passes.pruning.costs import View, Views
from passes.sharing.layer_problem import cost_of
from passes.sharing.pricing import place
from passes.sharing.sizes import SizedProposal
from passes.sharing.word_starts import BlockMetric
from passes.sharing.words import Encode, nearest

_PER_WORD = 4
"""Blocks to a word at least: fewer save nothing (Stock and others, 2020)."""
_KERNEL = 16
"""Taps up to which the slices of kernels are blocks: of more, no few words say enough."""
_LENGTHS = (4, 5, 3, 2)
"""Lengths of blocks of layers without small kernels; the first that divides the inputs."""
_SEARCHED_LENGTHS = (2, 4, 8)
_SEARCHED_WORDS = (16, 64, 256, 1024)
_WORDS = 256
_HALF = 2


class Codings(SizedProposal):
    """Weights that may be made of words; each part is a weight."""

    coarsest, largest = 0.01, 0.25

    def __init__(self, weights: Sequence[LayerWeight], table: MoveTable) -> None:
        """Start with the moves of each weight, the one that options ask for first."""
        super().__init__(weights, table)

    def first(self) -> Plan:
        """Return the first move of each weight."""
        return {part: rows[1] for part, rows in self.table.rows.items() if len(rows) > 1}


@dataclass(frozen=True)
class Asked:
    """What options say.

    Attributes:
        block: `auto`, `kernel` or a number.
        words: Codewords.
        searched: Whether other numbers are tried, too.
        seed: Draws.
    """

    block: str
    words: int
    searched: bool
    seed: int


@dataclass(frozen=True)
class _Costs:
    """What each setting of a weight costs, and one that is tried."""

    errors: Mapping[tuple[int, int], float]
    curvature: np.ndarray | None
    tried: Trial


def codings(
    model: Model, weights: Sequence[LayerWeight], asked: Asked, ctx: Context, *, seen: bool
) -> Codings:
    """Return the moves of weights: so many words of so many weights, at what cost.

    Args:
        model: The model as it is.
        weights: Its weights; those that cannot be made of words get a remark.
        asked: What options say.
        ctx: Has the data, if there are any.
        seen: Whether data may be looked at.
    """
    sites = {w.name: s for w in weights if (s := _site(w, model, ctx)) is not None}
    good = [w for w in weights if w.name in sites]
    settings = {w.name: _settings(w, sites[w.name], asked) for w in good}
    known: dict[str, _Costs] = {}
    coded = [w for w in good if settings[w.name]]
    if seen:
        for view in Views(model, coded, ctx, "k-means"):
            name = view.candidate.name
            known[name] = _costs(view.candidate, view.site, view, settings[name], asked)
    for weight in coded:
        if weight.name not in known:
            given = sites[weight.name], None, settings[weight.name], asked
            known[weight.name] = _costs(weight, *given)
    trials = {name: costs.tried for name, costs in known.items()}
    factors = tried(model, trials, ctx) if seen and trials else Factors()
    table = MoveTable()
    for weight in good:
        table.add(Move(weight.name, KEEP, "", 0.0, weight.array.nbytes, 0.0))
        if weight.name in known:
            _add(table, weight, known[weight.name], factors.of(weight.name), asked)
    found = Codings(good, table)
    for weight in good:
        if not settings[weight.name]:
            found.reasons[weight.name] = _reason(weight, sites[weight.name], asked)
    return found


def _add(table: MoveTable, weight: LayerWeight, costs: _Costs, factor: float, asked: Asked) -> None:
    """Add the moves of a weight."""
    readers = tuple(n.label for n in weight.nodes)
    curvature = None if costs.curvature is None else costs.curvature * factor
    for (block, count), error in costs.errors.items():
        own = Encode(readers, place(weight), block, count, curvature, asked.seed)
        size = _size(weight, block, count)
        setting = f"{count} words of {block}"
        row = (weight.name, "codebook", setting, factor * error, size, 0.0)
        table.add(Move(*row, edit=own))


def _site(weight: LayerWeight, model: Model, ctx: Context) -> Site | None:
    found = sites_of(weight.nodes, model)
    if isinstance(found, Refusal):
        for node in weight.nodes:
            ctx.skip(node, found.code, found.why)
        return None
    return found[0]


def _settings(weight: LayerWeight, site: Site, asked: Asked) -> list[tuple[int, int]]:
    """Return lengths and numbers of words that save something, what options ask for first."""
    taps = _taps(site)
    kernel = 1 < taps <= _KERNEL
    if asked.block == "kernel":
        lengths = [taps] if taps > 1 else []
    elif asked.block != "auto":
        lengths = [int(asked.block)]
    else:
        lengths = ([taps] if kernel else []) + [n for n in _LENGTHS if site.inputs % n == 0][:1]
        lengths = lengths[:1]
        if asked.searched:
            lengths += [n for n in _SEARCHED_LENGTHS if n not in lengths]
    found: list[tuple[int, int]] = []
    for length in lengths:
        if site.inputs % length:
            continue
        blocks = weight.array.size // length
        most = 1 << int(math.log2(max(blocks // _PER_WORD, 1)))
        counts = [asked.words, *(_SEARCHED_WORDS if asked.searched else ())]
        found += [(length, n) for n in dict.fromkeys(min(c, most) for c in counts) if n > 1]
    return [s for s in found if _size(weight, *s) < weight.array.nbytes]


def _reason(weight: LayerWeight, site: Site, asked: Asked) -> Reason:
    taps = _taps(site)
    if asked.block == "kernel" and taps == 1:
        return Reason("no-kernel", "it has no kernel whose slices could be words")
    length = taps if asked.block == "kernel" else 0 if asked.block == "auto" else int(asked.block)
    if length and site.inputs % length:
        return Reason("uneven-blocks", f"its {site.inputs} inputs are no multiple of {length}")
    return Reason("few-blocks", f"its {weight.array.size} weights are too few for a codebook")


def _taps(site: Site) -> int:
    return math.prod(site.window.kernel) if site.window is not None else 1


def _size(weight: LayerWeight, block: int, count: int) -> int:
    """Return the bytes of codes and words."""
    codes = weight.array.size // block
    return -(-codes * max(1, math.ceil(math.log2(count))) // 8) + count * block * _HALF


def _costs(
    weight: LayerWeight,
    site: Site,
    view: View | None,
    settings: Sequence[tuple[int, int]],
    asked: Asked,
) -> _Costs:
    """Look at a weight: by what its layer reads and is read for, or by itself."""
    matrix = site.matrix(weight.array.astype(np.float64))
    errors: dict[tuple[int, int], float] = {}
    first: Trial | None = None
    for block, count in settings:
        metric = None
        if view is not None:
            metric = BlockMetric.of(view.hessian, view.curvature, block)
        move = Encode((), 0, block, count, None, asked.seed)
        off = nearest(site, weight, move, metric).matrix - matrix
        if view is None:
            error = float(np.square(off).sum() / max(float(np.square(matrix).sum()), 1e-300))
        else:
            error = cost_of(view.hessian, view.curvature, off)
        errors[block, count] = error
        if first is None:
            array = site.weight(off)
            made = (weight.array + array).astype(weight.array.dtype)
            shift = view.shift(array) if view is not None else None
            change = Change(weight.nodes[0].label, place(weight), made, shift)
            first = Trial([change], error)
    assert first is not None
    return _Costs(errors, view.curvature if view is not None else None, first)
