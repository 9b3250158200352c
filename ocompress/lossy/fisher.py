"""What an error at the output of a layer costs at the outputs of the model."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np

from ocompress.analysis.gradients import sweep_gradients
from ocompress.analysis.linear_rows import Site
from ocompress.analysis.second_moments import Dealer
from ocompress.analysis.shapes import with_shapes
from ocompress.analysis.work import one_sample, work_of_typed
from ocompress.errors import RuntimeFailureError
from ocompress.ir import Model, fingerprint
from ocompress.lossy.gradient_sums import PLACES, GradientSums, PlaceSums
from ocompress.pipeline import Context

DRAWS = 2048
"""Random scalars over all samples and places of the outputs, at least."""
_WORK = 2.4e12
"""Multiplications that are spent on finding gradients, about, where that is not one draw."""
SAMPLES = 4096
_FEW_SAMPLES, _FEW_OUTPUTS = 1024, 1024
"""Samples and outputs up to which two parts of the samples are told apart: of more samples, both
parts say about the same, and of more outputs, two arrays would take much memory."""
_BACKWARD = 3
"""Work of finding gradients, relative to that of the outputs."""
_PARTS = 2
_ALIKE = 0.3
"""Part of what a row counts that all do alike."""
MOST_OUTPUTS = 4608
"""Outputs up to which pairs are looked at."""
_SHARES = ("Softmax", "LogSoftmax")
_FLOOR = 0.3
"""Part of a layer's mean importance that every output has at least: what no sample at hand needs
may be needed all the same."""


def curvature(model: Model, sites: Sequence[Site], ctx: Context) -> dict[str, np.ndarray]:
    """Measure what errors of a layer's output channels cost at the model's outputs, in pairs.

    It is the Fisher information of the model's own outputs, summed over the places of a channel:
    times mean products of errors of channels it estimates twice the divergence (in nats, for
    scores of classes) from the model as it was. An error that leaves alone what the rest of the
    model looks at costs nothing, however large. Errors of different places, and of inputs and
    outputs, count as independent (Martens and Grosse, Kronecker-factored Approximate Curvature,
    2015). No labels are needed.

    Args:
        model: The model as it is.
        sites: Its layers.
        ctx: Has the data.

    Returns:
        By name of a layer's output, shape (groups, outputs, outputs); (groups, outputs) for
        layers with more outputs than pairs can be looked at, whose errors count one by one.
        Layers that no gradient reaches are left out.
    """
    found = _remembered("pairs", model, sites, ctx)
    last = _last(sites)
    return {
        name: _floored(np.sum(parts, axis=0), _trusted(parts) if name in last else 1.0)
        for name, parts in found.items()
    }


def curvature_parts(
    model: Model, sites: Sequence[Site], ctx: Context
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return what `curvature` does of the samples to fit to and of those to judge by, each alone.

    Args:
        model: The model as it is.
        sites: Its layers.
        ctx: Has the data.

    Returns:
        As `curvature`, where samples are so few that it makes a difference; of any magnitude.
    """
    found = _remembered("pairs", model, sites, ctx)
    both = {name: parts for name, parts in found.items() if len(parts) == _PARTS}
    last = _last(sites)
    return {
        name: (_floored(parts[0], _trusted(parts) if name in last else 1.0), _floored(parts[1]))
        for name, parts in both.items()
    }


def row_weights(model: Model, sites: Sequence[Site], ctx: Context) -> dict[str, np.ndarray]:
    """Measure how much a row counts, of those that a layer is fitted to.

    Samples whose class is certain, and places that nothing looks at, bear larger errors than others
    do. The root of the Fisher information tells them apart: few random scalars say little of each.

    Args:
        model: The model as it is.
        sites: Its layers.
        ctx: Has the data.

    Returns:
        By name of a layer's output, (items, places), of mean 1; of the first samples, where there
        are many. Layers that no gradient reaches, or with very many places, are left out.
    """
    found = _remembered("places", model, sites, ctx)
    roots = {name: np.sqrt(powers[0]) for name, powers in found.items()}
    return {
        name: _ALIKE + (1 - _ALIKE) * root / root.mean(dtype=np.float64).astype(np.float32)
        for name, root in roots.items()
    }


def _last(sites: Sequence[Site]) -> set[str]:
    """Return the names of what layers make that are scores of classes, or the like."""
    found = set()
    for value in (site.node.output for site in sites):
        ends = [node.output for node, _ in value.users if node.is_op(*_SHARES)]
        if value.is_output or (ends and all(end.is_output for end in ends)):
            found.add(value.name)
    return found


def _trusted(parts: Sequence[np.ndarray]) -> float:
    """Return how far samples agree which classes matter, 0 to 1: what of it other samples share.

    Few samples need few of many classes, and others need others. Inner features are no classes:
    to trust them less was worse (LeNets and ResNet, 43 and 87 images).

    Args:
        parts: Curvature of the samples to fit to and of those to judge by; one says nothing.
    """
    if len(parts) != _PARTS:
        return 1.0
    whole, means = alone(np.sum(parts, axis=0)), [float(alone(part).mean()) for part in parts]
    if not all(means):  # where nothing counts there is nothing to agree on
        return 1.0
    each = [alone(part) / mean - 1 for part, mean in zip(parts, means, strict=True)]
    luck = float(np.square(whole / whole.mean() - 1).mean())
    shared = float((each[0] * each[1]).mean())
    return min(max(shared / max(luck, 1e-300), 0.0), 1.0)


def _floored(total: np.ndarray, trusted: float = 1.0) -> np.ndarray:
    """Return what outputs count, none of them next to nothing.

    Args:
        total: As it was measured.
        trusted: How far its differences are believed.
    """
    level, count = float(alone(total).mean()), total.shape[1]
    found: np.ndarray
    if total.ndim == 2:
        found = trusted * total + (_FLOOR + 1 - trusted) * level
        return found
    pair = (float(total.mean()) * count - level) / max(count - 1, 1)  # what is added to all is free
    alike = pair + (level - pair) * np.eye(count)
    found = trusted * total + (1 - trusted) * alike + _FLOOR * level * np.eye(count)
    return found


def across(array: np.ndarray, curvature: np.ndarray) -> np.ndarray:
    """Return an array times what errors of outputs cost.

    Args:
        array: (groups, inputs, outputs).
        curvature: (groups, outputs, outputs), or (groups, outputs) if outputs count one by one.
    """
    found: np.ndarray = array * curvature[:, None] if curvature.ndim == 2 else array @ curvature
    return found


def alone(curvature: np.ndarray) -> np.ndarray:
    """Return what an error of each output costs by itself, (groups, outputs)."""
    return curvature if curvature.ndim == 2 else np.einsum("goo->go", curvature)


class _Parts:
    """Which items of a layer's gradients judge, draw after draw of the same samples."""

    def __init__(self, draws: int) -> None:
        self._dealer, self._draws, self._calls = Dealer(), draws, 0
        self._judges = np.zeros(0, bool)

    def of(self, items: int) -> tuple[np.ndarray, np.ndarray]:
        """Return which items are to fit to, and which to judge by."""
        if self._calls % self._draws == 0:
            self._judges = self._dealer.judges(items)
        self._calls += 1
        return ~self._judges, self._judges


def _remembered(
    what: str, model: Model, sites: Sequence[Site], ctx: Context
) -> dict[str, tuple[np.ndarray, ...]]:
    """Return what is made of gradients, by name; what is known is not swept again.

    Args:
        what: `pairs`, whose arrays add up to a mean over samples: one, or what parts of them
            contribute; or `places`, one sum of squares over channels for each.
        model: The model as it is.
        sites: Its layers.
        ctx: Has the data.
    """
    store, whose = ctx.store, fingerprint(model)
    by_name = {s.node.output.name: s for s in sites}
    known = {name: store.get(whose, (what, ctx.seed, name)) for name in by_name}
    missing = {name: by_name[name] for name, entry in known.items() if entry is None}
    made = _sweep(model, missing, ctx) if missing else {}
    if made is None:
        return {}  # an operator whose derivative this runtime lacks
    for name in missing:
        both = made.get(name, {})
        known[name] = both.get(what, ())
        for kind in ("pairs", "places"):
            store.put(whose, (kind, ctx.seed, name), both.get(kind, ()))
    return {name: entry for name, entry in known.items() if entry}


def draws_of(model: Model, samples: int, ctx: Context) -> int:
    """Return how many random scalars each sample gets."""
    sample = one_sample(model, ctx.analyses.data) or {}
    typed = with_shapes(model, {name: array.shape for name, array in sample.items()})
    work = _BACKWARD * sum(work_of_typed(typed).values())
    affordable = int(_WORK / max(work * samples, 1.0))
    wanted = math.ceil(DRAWS / (max(samples, 1) * _places(typed)))
    return max(1, min(wanted, affordable))


def _places(typed: Model) -> int:
    """Return at how many places a sample's outputs stand, which all have a scalar of their own.

    The longest axis may be that of classes, which share one; the output with the fewest counts.
    """
    found = []
    for output in typed.graph.outputs:
        extents = [e for e in output.shape or () if isinstance(e, int)]
        known = len(extents) == output.rank
        found.append(math.prod(extents) // max([*extents, 1]) if known else 1)
    return min(max(min(found, default=1), 1), PLACES)


def _sweep(
    model: Model, by_name: Mapping[str, Site], ctx: Context
) -> dict[str, dict[str, tuple[np.ndarray, ...]]] | None:
    sums: dict[str, GradientSums] = {}
    counts: dict[str, int] = {}
    rng = np.random.default_rng(ctx.seed)
    few = ctx.data.take(SAMPLES)
    draws = draws_of(model, few.samples, ctx)
    places = {name: PlaceSums(site, draws) for name, site in by_name.items()}
    parted = {
        name: _Parts(draws)
        for name, site in by_name.items()
        if few.samples <= _FEW_SAMPLES and site.outputs <= _FEW_OUTPUTS
    }

    def update(name: str, _: np.ndarray, gradient: np.ndarray) -> None:
        if name not in sums:
            site = by_name[name]
            sums[name] = GradientSums(site, pairs=site.outputs <= MOST_OUTPUTS)
        items = by_name[name].result_items(gradient)
        parts = parted[name].of(items) if name in parted else ()
        sums[name].update(gradient, parts, rng)
        places[name].update(gradient)
        counts[name] = counts.get(name, 0) + items

    stage = f"{ctx.source}: measuring Fisher information"
    try:
        sweep_gradients(
            model,
            list(by_name),
            few,
            update,
            partial(ctx.progress, stage),
            seed=ctx.seed,
            draws=draws,
        )
    except RuntimeFailureError:
        return None
    return {
        name: {"pairs": _means(own, counts[name]), "places": places[name].total()}
        for name, own in sums.items()
    }


def _means(sums: GradientSums, count: int) -> tuple[np.ndarray, ...]:
    """Return what parts of the samples contribute to a mean; nothing if it is 0 or not finite."""
    means = tuple(total / max(count, 1) for total in sums.totals())
    if not all(np.isfinite(mean).all() for mean in means):
        return ()
    if all(mean.any() for mean in means):
        return means
    return (np.sum(means, axis=0),) if any(mean.any() for mean in means) else ()
