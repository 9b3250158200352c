"""Trying out one pruned layer at a time, to see what it really does to the model's outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from ocompress.ir import Model
from ocompress.lossy.ablation import Change, Trial, tried
from ocompress.lossy.layer_weights import LayerWeight
from ocompress.pipeline import Context
from passes.pruning.costs import Costed


def corrected(
    model: Model, candidates: Sequence[LayerWeight], costed: Mapping[int, Costed], ctx: Context
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
    trials = {}
    for candidate in candidates:
        known = costed.get(id(candidate.value))
        if known is not None and known.probe is not None:
            trials[candidate.name] = Trial(
                _changes(candidate, known), known.probe_error, left_out=known.left_out
            )
    times = tried(model, trials, ctx)
    found = dict(costed)
    for candidate in candidates:
        known = costed.get(id(candidate.value))
        if known is not None:
            costs = known.costs * np.float32(times.of(candidate.name))
            ruined = candidate.name in times.ruined
            found[id(candidate.value)] = replace(known, costs=costs, ruined=ruined)
    return found


def _changes(candidate: LayerWeight, known: Costed) -> list[Change]:
    assert known.probe is not None
    return [
        Change(node.label, at, known.probe, known.shift)
        for node in candidate.nodes
        for at, value in enumerate(node.inputs)
        if value is candidate.value
    ]
