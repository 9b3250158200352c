"""Trying out one pruned layer at a time, to see what it really does to the model's outputs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from ocompress.analysis.linear_rows import Site, site_of
from ocompress.analysis.sensitivity import Edit, Sensitivity, sensitivity
from ocompress.ir import Model, edit
from ocompress.pipeline import Context
from passes.pruning.candidates import Candidate
from passes.pruning.costs import Costed
from passes.pruning.refitting import shift_bias
from passes.pruning.work import work_of

_WORK = 3e11
"""Multiplications that are spent on trying out, about."""
_FEWEST, _MOST_SAMPLES = 16, 512
_MOST = 16.0
"""Factor by which what was predicted is corrected at most: a few samples are no proof."""


def corrected(
    model: Model, candidates: Sequence[Candidate], costed: Mapping[int, Costed], ctx: Context
) -> dict[int, Costed]:
    """Put the probe of each layer alone into the model, and scale the costs to what that does.

    Gradients tell what small errors cost; pruning makes large ones.

    Args:
        model: The model as it is.
        candidates: Its weights.
        costed: Their predicted costs, by id of the candidate's value.
        ctx: Has the data.

    Returns:
        The costs; as they were where there is no probe or it cannot be run.
    """
    variants: dict[str, Edit] = {}
    for candidate in candidates:
        known = costed.get(id(candidate.value))
        if known is not None and known.probe is not None:
            variants[candidate.name] = _variant(candidate, known)
    stage = f"{ctx.source}: trying layers one at a time"
    seen = sensitivity(
        model,
        variants,
        ctx.data,
        partial(ctx.progress, stage),
        samples=samples_for(model, len(variants), ctx),
    )
    found = dict(costed)
    for candidate in candidates:
        known = costed.get(id(candidate.value))
        if known is None or candidate.name not in seen:
            continue
        times = factor(seen[candidate.name], known.probe_error)
        found[id(candidate.value)] = replace(known, costs=known.costs * np.float32(times))
    return found


def samples_for(model: Model, variants: int, ctx: Context) -> int:
    """Return on how many samples variants of a model are tried: as many as are soon done."""
    feeds = next(iter(ctx.data.take(1)), None)
    work = sum(work_of(model, feeds).values())
    return int(min(max(_WORK / max(work * variants, 1.0), _FEWEST), _MOST_SAMPLES))


def factor(seen: Sensitivity, predicted: float) -> float:
    """Return what a predicted cost is to be multiplied by, given what was seen."""
    measured = 2 * seen.kl if seen.kl is not None else 10 ** (-seen.sqnr_db / 10)
    if not (predicted > 0 and measured > 0 and math.isfinite(measured)):
        return 1.0
    return min(max(measured / predicted, 1 / _MOST), _MOST)


def _shift(model: Model, labels: set[str], shift: np.ndarray | None) -> None:
    for node in model.graph.nodes:
        site = site_of(node) if node.label in labels else None
        if isinstance(site, Site) and shift is not None:
            shift_bias(site, -shift)


def _variant(candidate: Candidate, known: Costed) -> Edit:
    name = candidate.value.name
    dtype = candidate.weight.dtype

    def put(model: Model) -> bool:
        for graph in model.graph.graphs():
            value = graph.initializers.get(name)
            if value is not None and known.probe is not None:
                edit.set_weight(value, known.probe.astype(dtype))
                _shift(model, {n.label for n in candidate.nodes}, known.shift)
                return True
        return False

    return put
