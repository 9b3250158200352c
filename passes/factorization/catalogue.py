"""Every form that a layer can be given: its factors, where they start, and its chain."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from passes.factorization import starts
from passes.factorization.forms import ChainForm, Ranks, Starts
from passes.factorization.problem import AXES, Problem
from passes.factorization.steps import ChainLink

METHODS = (
    "channel",
    "input",
    "spatial",
    "tucker",
    "cp",
    "grid",
    "depthwise-first",
    "pointwise-first",
)


def named(names: Sequence[str]) -> list[ChainForm]:
    """Return the forms of some methods; a method may have a variant for each axis."""
    return [form for form in FORMS if form.method in names]


def _taps(dims: int) -> str:
    return AXES[1 : dims + 1]


def _pointwise(matrix: np.ndarray, dims: int) -> ChainLink:
    """Return a 1 x 1 convolution of a matrix (inputs, outputs)."""
    weight = matrix.T.reshape(matrix.shape[1], matrix.shape[0], *(1,) * dims)
    return ChainLink(weight, 1, (False,) * dims)


def _whole(weight: np.ndarray, groups: int = 1) -> ChainLink:
    """Return a convolution that walks like the layer."""
    return ChainLink(weight, groups, (True,) * (weight.ndim - 2))


# -- k x k to r channels, then 1 x 1: principal components of the outputs (Zhang et al., 2015) --


def _output_start(problem: Problem) -> Starts:
    first, second = starts.outputs_first(problem)
    shape = problem.tensor.shape[:-1]
    return lambda r: [first[:, : r[0]].reshape(*shape, -1), second[: r[0]]]


def _output_links(factors: Sequence[np.ndarray]) -> list[ChainLink]:
    first, second = factors
    return [_whole(np.moveaxis(first, -1, 0)), _pointwise(second, first.ndim - 2)]


# -- 1 x 1 to r channels, then k x k ---------------------------------------------------------


def _input_start(problem: Problem) -> Starts:
    first, second = starts.bisected(problem, [0])
    return lambda r: [first[:, : r[0]], second[: r[0]]]


def _input_links(factors: Sequence[np.ndarray]) -> list[ChainLink]:
    first, second = factors
    return [_pointwise(first, second.ndim - 2), _whole(np.moveaxis(second, -1, 0))]


# -- along one axis, then along the others (Jaderberg et al., 2014) ---------------------------


def _spatial_terms(axis: int, dims: int) -> tuple[str, ...]:
    own = AXES[1 + axis]
    return f"c{own}r", f"r{_taps(dims).replace(own, '')}n"


def _spatial_most(axis: int, problem: Problem) -> Ranks:
    rows = problem.channels * problem.kernel[axis]
    return (min(rows, problem.tensor.size // rows),)


def _spatial_start(axis: int, problem: Problem) -> Starts:
    first, second = starts.bisected(problem, [0, 1 + axis])
    shape = problem.channels, problem.kernel[axis]
    return lambda r: [first[:, : r[0]].reshape(*shape, -1), second[: r[0]]]


def _spatial_links(axis: int, factors: Sequence[np.ndarray]) -> list[ChainLink]:
    first, second = factors
    dims = second.ndim - 1
    ours = tuple(at == axis for at in range(dims))
    kernel = [first.shape[1] if own else 1 for own in ours]
    weight = first.transpose(2, 0, 1).reshape(first.shape[2], first.shape[0], *kernel)
    rest = np.expand_dims(np.moveaxis(second, -1, 0), 2 + axis)
    return [ChainLink(weight, 1, ours), ChainLink(rest, 1, tuple(not own for own in ours))]


# -- 1 x 1, k x k between fewer channels, 1 x 1 (Kim et al., 2016) ----------------------------


def _tucker_start(problem: Problem) -> Starts:
    """Take input channels by their whitened components, then outputs by theirs on what is left.

    It is one turn of orthogonal iteration, which alternating least squares goes on with.
    """
    left, rest = starts.bisected(problem, [0])
    known: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def given(ranks: Ranks) -> list[np.ndarray]:
        inner, outer = ranks
        if inner not in known:
            small = starts.seen_through(problem, left[:, :inner], rest[:inner])
            known[inner] = starts.outputs_first(small)
        first, second = known[inner]
        core = first[:, :outer].reshape(inner, *problem.kernel, -1)
        return [left[:, :inner], core, second[:outer]]

    return given


def _tucker_links(factors: Sequence[np.ndarray]) -> list[ChainLink]:
    first, core, last = factors
    dims = core.ndim - 2
    return [_pointwise(first, dims), _whole(np.moveaxis(core, -1, 0)), _pointwise(last, dims)]


# -- 1 x 1, depthwise k x k, 1 x 1: canonical polyadic terms (Lebedev et al., 2015) -----------


def _canonical_start(problem: Problem) -> Starts:
    every = starts.rank_one_terms(problem, _canonical_most(problem)[0])
    return lambda r: [every[0][:, : r[0]], every[1][..., : r[0]], every[2][: r[0]]]


def _canonical_most(problem: Problem) -> Ranks:
    return (problem.channels * min(problem.taps, problem.outputs),)


def _canonical_links(factors: Sequence[np.ndarray]) -> list[ChainLink]:
    first, taps, last = factors
    dims = taps.ndim - 1
    depthwise = np.moveaxis(taps, -1, 0)[:, None]
    middle = _whole(depthwise, len(depthwise))
    return [_pointwise(first, dims), middle, _pointwise(last, dims)]


# -- depthwise k x k with several filters a channel, then 1 x 1 (Guo et al., 2018) ------------


def _depthwise_start(problem: Problem) -> Starts:
    first, second = starts.per_channel(problem)
    return lambda r: [first[:, : r[0]], second[:, : r[0]]]


def _depthwise_links(factors: Sequence[np.ndarray]) -> list[ChainLink]:
    first, second = factors
    channels, terms = first.shape[:2]
    weight = first.reshape(channels * terms, 1, *first.shape[2:])
    flat = second.reshape(channels * terms, -1)
    return [_whole(weight, channels), _pointwise(flat, first.ndim - 2)]


# -- 1 x 1 to several maps an output, then k x k over those of each output (Guo et al., 2018) -


def _pointwise_start(problem: Problem) -> Starts:
    first, second = starts.per_output(problem)
    return lambda r: [first[..., : r[0]], second[:, : r[0]]]


def _pointwise_links(factors: Sequence[np.ndarray]) -> list[ChainLink]:
    first, second = factors
    flat = first.reshape(len(first), -1)
    return [_pointwise(flat, second.ndim - 2), _whole(second, len(second))]


# -- a matrix behind a Flatten: each spatial axis by few components, then low rank -------------


def _grid_start(problem: Problem) -> Starts:
    """Take both spatial axes by their whitened components, then outputs by theirs."""
    down, right = (starts.bisected(problem, [axis])[0] for axis in (1, 2))
    known: dict[tuple[int, int], tuple[np.ndarray, np.ndarray]] = {}

    def given(ranks: Ranks) -> list[np.ndarray]:
        p, q, r = ranks
        if (p, q) not in known:
            small = starts.seen_through_modes(problem, down[:, :p], right[:, :q])
            known[p, q] = starts.outputs_first(small)
        first, second = known[p, q]
        core = first[:, :r].reshape(problem.channels, p, q, -1)
        return [right[:, :q], down[:, :p], core, second[:r]]

    return given


def _grid_links(factors: Sequence[np.ndarray]) -> list[ChainLink]:
    right, down, core, last = factors
    flat = core.reshape(-1, core.shape[-1])
    return [
        ChainLink(right.T, 1, (), mode=0),
        ChainLink(down.T, 1, (), mode=1),
        _pointwise(flat, 0),
        _pointwise(last, 0),
    ]


def _spatial(axis: int) -> ChainForm:
    return ChainForm(
        method="spatial",
        axis=axis,
        ranks="r",
        terms=partial(_spatial_terms, axis),
        most=partial(_spatial_most, axis),
        start=partial(_spatial_start, axis),
        links=partial(_spatial_links, axis),
        spectra=lambda p: [starts.spectrum(p, [0, 1 + axis])],
    )


FORMS = (
    ChainForm(
        method="channel",
        ranks="r",
        terms=lambda dims: ("c" + _taps(dims) + "r", "rn"),
        most=lambda p: (min(p.matrix.shape),),
        start=_output_start,
        links=_output_links,
        spectra=lambda p: [starts.spectrum(p, range(p.tensor.ndim - 1))],
        closed=True,
        flat=True,
    ),
    ChainForm(
        method="input",
        ranks="r",
        terms=lambda dims: ("cr", "r" + _taps(dims) + "n"),
        most=lambda p: (p.channels,),
        start=_input_start,
        links=_input_links,
        spectra=lambda p: [starts.spectrum(p, [0])],
        transposes=True,
    ),
    _spatial(0),
    _spatial(1),
    ChainForm(
        method="tucker",
        ranks="ab",
        terms=lambda dims: ("ca", "a" + _taps(dims) + "b", "bn"),
        most=lambda p: (p.channels, min(p.matrix.shape)),
        start=_tucker_start,
        links=_tucker_links,
        spectra=lambda p: [
            starts.spectrum(p, [0]),
            starts.spectrum(p, range(p.tensor.ndim - 1)),
        ],
    ),
    ChainForm(
        method="cp",
        ranks="r",
        terms=lambda dims: ("cr", _taps(dims) + "r", "rn"),
        most=_canonical_most,
        start=_canonical_start,
        links=_canonical_links,
    ),
    ChainForm(
        method="grid",
        ranks="pqr",
        terms=lambda _: ("vq", "up", "cpqr", "rn"),
        most=lambda p: (*p.kernel, min(p.matrix.shape)),
        start=_grid_start,
        links=_grid_links,
        flat=True,
        grid=True,
    ),
    ChainForm(
        method="depthwise-first",
        ranks="s",
        terms=lambda dims: ("cs" + _taps(dims), "csn"),
        most=lambda p: (p.taps,),
        start=_depthwise_start,
        links=_depthwise_links,
    ),
    ChainForm(
        method="pointwise-first",
        ranks="s",
        terms=lambda dims: ("cns", "ns" + _taps(dims)),
        most=lambda p: (p.taps,),
        start=_pointwise_start,
        links=_pointwise_links,
        mixes=False,
    ),
)
