"""What an error at the output of a layer costs at the outputs of the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np

from ocompress.analysis.gradients import sweep_gradients
from ocompress.analysis.linear_rows import Site
from ocompress.errors import RuntimeFailureError
from ocompress.ir import Model, fingerprint
from ocompress.pipeline import Context

DRAWS = 512
"""Random scalars over all samples, at least."""
SAMPLES = 4096
MOST_OUTPUTS = 4608
"""Outputs up to which pairs are looked at."""
_PLACES = 64
"""Places of a sample that products of outputs are added up over; more are sampled."""
_FLOOR = 0.3
"""Part of a layer's mean importance that every output has at least: what no sample at hand needs
may be needed all the same."""


def curvature(model: Model, sites: Sequence[Site], ctx: Context) -> dict[str, np.ndarray]:
    """Measure how much the model's outputs mind errors of a layer's output channels, in pairs.

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
    found = _remembered(model, sites, ctx)
    for name, mean in found.items():
        if mean.ndim == 2:
            found[name] = mean + _FLOOR * mean.mean()
            continue
        level = np.einsum("gii->", mean) / (mean.shape[0] * mean.shape[1])
        found[name] = mean + _FLOOR * level * np.eye(mean.shape[1])
    return found


def across(array: np.ndarray, minds: np.ndarray) -> np.ndarray:
    """Return an array times what errors of outputs cost.

    Args:
        array: (groups, inputs, outputs).
        minds: (groups, outputs, outputs), or (groups, outputs) if outputs count one by one.
    """
    found: np.ndarray = array * minds[:, None] if minds.ndim == 2 else array @ minds
    return found


def alone(minds: np.ndarray) -> np.ndarray:
    """Return what an error of each output costs by itself, (groups, outputs)."""
    return minds if minds.ndim == 2 else np.einsum("goo->go", minds)


def _products(seen: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Add up products of gradients (items, places, groups, outputs) of pairs of outputs."""
    if seen.shape[3] > MOST_OUTPUTS:
        squares: np.ndarray = np.square(seen, dtype=np.float64).sum(axis=(0, 1))
        return squares
    places = seen.shape[1]
    if places > _PLACES:
        seen = seen[:, rng.choice(places, _PLACES, replace=False)]
    flat = seen.transpose(2, 3, 0, 1).reshape(*seen.shape[2:], -1)
    total: np.ndarray = (flat @ flat.transpose(0, 2, 1)) * (places / seen.shape[1])
    return total.astype(np.float64)


def _remembered(model: Model, sites: Sequence[Site], ctx: Context) -> dict[str, np.ndarray]:
    """Return means of what is made of gradients, by name; what is known is not swept again."""
    store, whose = ctx.store, fingerprint(model)
    by_name = {s.node.output.name: s for s in sites}
    known = {name: store.get(whose, ("pairs", ctx.seed, name)) for name in by_name}
    missing = {name: by_name[name] for name, entry in known.items() if entry is None}
    made = _sweep(model, missing, ctx) if missing else {}
    if made is None:
        return {}  # an operator whose derivative this runtime lacks
    for name in missing:
        known[name] = (made[name],) if name in made else ()
        store.put(whose, ("pairs", ctx.seed, name), known[name] or ())
    return {name: entry[0] for name, entry in known.items() if entry}


def _sweep(model: Model, by_name: Mapping[str, Site], ctx: Context) -> dict[str, np.ndarray] | None:
    sums: dict[str, np.ndarray] = {}
    counts: dict[str, int] = {}
    rng = np.random.default_rng(ctx.seed)

    def update(name: str, _: np.ndarray, gradient: np.ndarray) -> None:
        site = by_name[name]
        every = np.arange(site.result_places(gradient))
        seen = site.results(gradient.astype(np.float32, copy=False), every)
        sums[name] = sums.get(name, 0) + _products(seen, rng)
        counts[name] = counts.get(name, 0) + len(gradient)

    few = ctx.data.take(SAMPLES)
    stage = f"{ctx.source}: measuring what outputs mind"
    try:
        sweep_gradients(
            model,
            list(by_name),
            few,
            update,
            partial(ctx.progress, stage),
            seed=ctx.seed,
            draws=max(1, DRAWS // max(few.samples, 1)),
        )
    except RuntimeFailureError:
        return None
    found = {}
    for name, total in sums.items():
        mean = total / max(counts[name], 1)
        if np.isfinite(mean).all() and mean.any():
            found[name] = mean
    return found
