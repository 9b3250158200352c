"""Trying out one change alone, to see what it really does to the model's outputs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

import numpy as np

from ocompress.analysis.left_out import parts_of
from ocompress.analysis.linear_rows import Site, site_of
from ocompress.analysis.observe import has_free_batch
from ocompress.analysis.sensitivity import Edit, Sensitivity, affordable, sensitivity
from ocompress.analysis.work import one_sample, work_of
from ocompress.ir import Model, Node, edit
from ocompress.lossy.refit import shift_bias
from ocompress.pipeline import Context
from ocompress.planning import moves

_WORK = 3e11
"""Multiplications that are spent on trying out, about."""
_FEWEST, _MOST_SAMPLES = 16, 512
_FEWEST_TRIED, _FEWEST_TRIALS = 8, 32
"""Edits, and layers whose predictions are checked, that are tried however large the model is."""
_MOST = 16.0
"""Factor by which what was predicted is corrected at most, more or less than what was predicted of
the others: a few samples are no proof."""
_Tried = TypeVar("_Tried")


@dataclass(frozen=True)
class Change:
    """Another weight for a layer.

    Attributes:
        label: Label of its node.
        index: Input of the weight.
        weight: The weight, of the layer's shape.
        shift: What it adds to the mean of each output, for a bias to make up for; None if the
            layer has none.
    """

    label: str
    index: int
    weight: np.ndarray
    shift: np.ndarray | None


@dataclass(frozen=True)
class Mask:
    """What a node reads, parts of it zero.

    Attributes:
        label: Label of the node.
        index: Its input.
        axis: Axis of the input.
        keep: Which elements along it stay.
    """

    label: str
    index: int
    axis: int
    keep: np.ndarray


@dataclass(frozen=True)
class Trial:
    """What is tried together.

    Attributes:
        changes: Other weights.
        predicted: What that costs, as gradients tell.
        masks: What is set to zero.
        left_out: Whether only samples that it was not fitted to tell what it costs: those that
            `ocompress.analysis.left_out` has.
    """

    changes: Sequence[Change]
    predicted: float
    masks: Sequence[Mask] = ()
    left_out: bool = False


@dataclass(frozen=True)
class Factors:
    """By what predicted costs are to be multiplied.

    Attributes:
        common: What all are off by, in the median. Costs are predicted of a sample, all places of
            its outputs together, and measured in the mean of them, or as noise over signal.
        each: What each is off by, as far as it was measured.
        ruined: What makes outputs NaN or infinite by itself.
    """

    common: float = 1.0
    each: Mapping[str, float] = field(default_factory=dict)
    ruined: Set[str] = frozenset()

    def of(self, name: str) -> float:
        """Return the factor of one; the common one if it could not be tried."""
        return self.each.get(name, self.common)


def tried(model: Model, trials: Mapping[str, Trial], ctx: Context) -> Factors:
    """Return by what predicted costs are to be multiplied, for what was measured.

    Errors of neighbouring places add up where they are pooled, and large ones are not what
    gradients say: what is predicted is off by up to ten times, and by another factor for every
    layer. Every variant has all nodes of the model, so of a large one only trials at even distances
    are made, or the time would grow with the square. The others get what those before and behind
    them are off by, in the geometric mean: of three nets that is nearer on two, and about as near
    on one, as what all are off by.

    Args:
        model: The model as it is.
        trials: What is tried, each alone, by name.
        ctx: Has the data.
    """
    if not trials:
        return Factors()
    wanted = list(trials)
    trials = _spread(trials, max(affordable(model, sharing=True), _FEWEST_TRIALS))
    parts = parts_of(ctx.data) if has_free_batch(model) else None
    seen: dict[str, Sensitivity] = {}
    for apart, data in ((False, ctx.data), (True, parts[1] if parts else None)):
        own = {name: _variant(trial) for name, trial in trials.items() if trial.left_out is apart}
        if data is None or not own:
            continue
        seen |= sensitivity(
            model,
            own,
            data,
            partial(ctx.progress, f"{ctx.source}: ablation, one change at a time"),
            samples=samples_for(model, len(trials), ctx),
            store=None if apart else ctx.store,
        )
    pairs = {name: (cost_of(found), trials[name].predicted) for name, found in seen.items()}
    ratios = {n: a / b for n, (a, b) in pairs.items() if 0 < a < math.inf and 0 < b < math.inf}
    ruined = frozenset(name for name, (cost, _) in pairs.items() if not math.isfinite(cost))
    if not ratios:
        return Factors(ruined=ruined)
    common = math.exp(float(np.median([math.log(ratio) for ratio in ratios.values()])))
    least, most = common / _MOST, common * _MOST
    each = {n: min(max(ratio, least), most) for n, ratio in ratios.items()}
    return Factors(common, _between(each, wanted, trials.keys()), ruined)


def _between(each: Mapping[str, float], wanted: Sequence[str], tried: Set[str]) -> dict[str, float]:
    """Return the numbers of all that was wanted, in order: what was not tried lies between."""
    known = [at for at, name in enumerate(wanted) if name in each]
    logs = [math.log(each[wanted[at]]) for at in known]
    drawn = np.exp(np.interp(range(len(wanted)), known, logs))
    others = {n: float(f) for n, f in zip(wanted, drawn, strict=True) if n not in tried}
    return {**each, **others}


def _spread(trials: Mapping[str, _Tried], most: int) -> Mapping[str, _Tried]:
    """Return at most so many trials, at even distances in their order."""
    if len(trials) <= most:
        return trials
    names = list(trials)
    return {names[at]: trials[names[at]] for at in np.linspace(0, len(names) - 1, most).astype(int)}


def costs_alone(
    model: Model,
    edits: Mapping[str, moves.Edit],
    ctx: Context,
    predicted: Mapping[str, float] | None = None,
) -> dict[str, float]:
    """Return what the outputs lose by each of some edits alone, see `cost_together`.

    Args:
        model: The model as it is.
        edits: What is tried, by any name.
        ctx: Has the data.
        predicted: What each might cost, in any unit. Of a large model only the edits that look
            cheapest are tried then, and the others cost as much more as that predicts. Without it
            edits at even distances are tried, and what is between them costs the geometric mean;
            each edit is to change a layer only.

    Returns:
        By name; edits that cannot be made or run are left out.
    """
    if not edits:
        return {}
    if predicted is None:
        tried = list(_spread(edits, max(affordable(model, sharing=True), _FEWEST_TRIALS)))
    else:
        tried = sorted(edits, key=lambda name: predicted[name])
        tried = tried[: max(affordable(model), _FEWEST_TRIED)]
    stage = partial(ctx.progress, f"{ctx.source}: ablation, one move at a time")
    samples = samples_for(model, len(tried), ctx)
    variants = {name: edits[name].apply for name in edits if name in set(tried)}
    seen = sensitivity(model, variants, ctx.data, stage, samples=samples, store=ctx.store)
    found = {name: cost_of(one) for name, one in seen.items()}
    if len(tried) == len(edits):
        return found
    if predicted is None:
        usual = {name: cost for name, cost in found.items() if 0 < cost < math.inf}
        found |= _between(usual, list(edits), set(tried)) if usual else {}
    else:
        ratios = [found[n] / predicted[n] for n in found if predicted[n] > 0]
        factor = float(np.median(ratios)) if ratios else 1.0
        found |= {name: factor * predicted[name] for name in edits if name not in set(tried)}
    return found


def samples_for(model: Model, variants: int, ctx: Context) -> int:
    """Return on how many samples variants of a model are tried: as many as are soon done."""
    work = sum(work_of(model, one_sample(model, ctx.analyses.data)).values())
    return int(min(max(_WORK / max(work * variants, 1.0), _FEWEST), _MOST_SAMPLES))


def cost_together(model: Model, changed: Model, ctx: Context) -> float | None:
    """Return what a changed model costs, in what costs of layers are counted in.

    Args:
        model: The model as it was.
        changed: What became of it.
        ctx: Has the data.

    Returns:
        Twice the mean divergence of the outputs in nats, and for outputs (or parts of them in a
        unit of their own) that are no scores of classes the power of the error over that of the
        part; None if it cannot be run, or nobody wants to know.
    """
    if not ctx.tells:
        return None

    def become(clone: Model) -> bool:
        clone.become(changed.clone())
        return True

    samples = samples_for(model, 1, ctx)
    seen = sensitivity(model, {"": become}, ctx.data, samples=samples, store=ctx.store).get("")
    cost = cost_of(seen) if seen is not None else math.inf
    return cost if math.isfinite(cost) else None


def cost_of(seen: Sensitivity) -> float:
    """Return what was seen in what costs of layers are counted in."""
    return seen.cost


def _variant(trial: Trial) -> Edit:
    def put(model: Model) -> bool:
        by_label = {n.label: n for n in model.graph.nodes}
        for change in trial.changes:
            node = by_label.get(change.label)
            if node is None:
                return False
            value = edit.own_weight(node, change.index)
            assert value.data is not None
            edit.set_weight(value, change.weight.astype(value.data.dtype))
            site = site_of(node)
            if change.shift is not None and isinstance(site, Site):
                shift_bias(site, -change.shift)
        return all(_put_mask(by_label.get(mask.label), mask) for mask in trial.masks)

    return put


def _put_mask(node: Node | None, mask: Mask) -> bool:
    value = node.input(mask.index) if node is not None else None
    if node is None or value is None or value.dtype is None or value.rank is None:
        return False
    assert node.graph is not None
    shape = [-1 if axis == mask.axis else 1 for axis in range(value.rank)]
    factor = node.graph.constant("kept", mask.keep.astype(value.dtype.numpy).reshape(shape))
    masked = node.graph.add_op("Mul", [value, factor], name=f"{node.label}_masked").output
    masked.set_type(value.dtype, value.shape)
    node.set_input(mask.index, masked)
    return True
