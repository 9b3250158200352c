"""The numbers of merged layers, against convolutions written out as loops."""

from __future__ import annotations

import numpy as np
import pytest

from passes.merging import arithmetic, forms
from passes.merging.forms import POINT, Axis, LinearForm

Array = np.ndarray


def drawn(form: LinearForm, rng: np.random.Generator) -> Array:
    shape = (form.outputs, form.inputs // form.window.groups, *form.window.kernel)
    return rng.standard_normal(shape)


def convolved(x: Array, weight: Array, form: LinearForm) -> Array:
    """Walk over the input [channels, ...] place by place."""
    padded = np.pad(x, ((0, 0), *form.window.pads))
    extents = [a.extent(e) for a, e in zip(form.axes, x.shape[1:], strict=True)]
    made = np.zeros((form.outputs, *extents))
    share, inner = form.outputs // form.window.groups, weight.shape[1]
    for place in np.ndindex(*extents):
        at = tuple(
            slice(p * a.stride, p * a.stride + a.span + 1, a.dilation)
            for p, a in zip(place, form.axes, strict=True)
        )
        for channel in range(form.outputs):
            first = channel // share * inner
            seen = padded[(slice(first, first + inner), *at)]
            made[(channel, *place)] = (seen * weight[channel]).sum()
    return made


PAIRS = {
    "dense": ((6, 4, 1), (5, 6, 1)),
    "groups": ((6, 4, 2), (9, 6, 3)),
    "same groups": ((6, 4, 2), (8, 6, 2)),
    "depthwise first": ((6, 6, 6), (4, 6, 2)),
    "depthwise second": ((6, 4, 2), (6, 6, 6)),
    "depthwise twice": ((6, 6, 6), (6, 6, 6)),
    "multiplier": ((12, 6, 6), (12, 12, 12)),
}
WALKS = [
    ([Axis(3, 1, 1, 1, 0)], [Axis(2, 2, 1, 0, 0)]),
    ([Axis(2, 2, 3, 1, 1)], [Axis(3, 1, 2, 0, 0)]),
    ([Axis(3, 1, 1, 0, 0), POINT], [POINT, Axis(2, 3, 1, 0, 0)]),
    ([Axis(1, 2, 1, 0, 0), Axis(2, 1, 2, 2, 0)], [Axis(3, 1, 1, 1, 1), Axis(2, 1, 2, 0, 0)]),
    ([], []),
]


@pytest.mark.parametrize("walk", range(len(WALKS)))
@pytest.mark.parametrize("pair", PAIRS)
def test_chained(pair: str, walk: int) -> None:
    rng = np.random.default_rng(walk)
    channels, axes = PAIRS[pair], WALKS[walk]
    first, second = (forms.form_of(*c[:2], a, c[2]) for c, a in zip(channels, axes, strict=True))
    weights = drawn(first, rng), drawn(second, rng)
    x = rng.standard_normal((first.inputs, *[9] * len(first.axes)))
    whole = forms.chained(first, second)
    merged = arithmetic.chained(*weights, first, second)
    assert merged.size == whole.weights
    expected = convolved(convolved(x, weights[0], first), weights[1], second)
    np.testing.assert_allclose(convolved(x, merged, whole), expected, 1e-10, 1e-10)


@pytest.mark.parametrize("groups", [(6, 6), (6, 3), (6, 1), (2, 1), (1, 1)])
def test_regrouped(groups: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    many = forms.form_of(12, 6, [Axis(2, 1, 1, 0, 0)], groups[0])
    few = forms.form_of(12, 6, [Axis(2, 1, 1, 0, 0)], groups[1])
    weight, x = drawn(many, rng), rng.standard_normal((6, 5))
    wider = arithmetic.regrouped(weight, *groups)
    assert np.count_nonzero(wider) == weight.size
    np.testing.assert_allclose(convolved(x, wider, few), convolved(x, weight, many), 1e-12)


@pytest.mark.parametrize("groups", [1, 2, 6])
def test_pushed(groups: int) -> None:
    rng = np.random.default_rng(0)
    form = forms.form_of(12, 6, [Axis(3, 1, 1, 0, 0), Axis(2, 1, 1, 0, 0)], groups)
    weight, bias = drawn(form, rng), rng.standard_normal(6)
    constant = np.broadcast_to(bias[:, None, None], (6, 4, 4))
    expected = convolved(constant, weight, form)[:, 0, 0]
    np.testing.assert_allclose(arithmetic.pushed(bias, weight, groups), expected, 1e-12)


def test_summed() -> None:
    rng = np.random.default_rng(0)
    walks = [
        ([Axis(3, 1, 2, 2, 2), Axis(3, 1, 1, 1, 1)], 2),
        ([POINT, POINT], 1),
        ([Axis(5, 1, 1, 2, 2), POINT], 4),
    ]
    parts = [forms.form_of(4, 4, axes, groups) for axes, groups in walks]
    weights = [drawn(part, rng) for part in parts]
    whole = parts[0]
    for part in parts[1:]:
        total = forms.summed(whole, part, [None, None])
        assert isinstance(total, LinearForm)
        whole = total
    x = rng.standard_normal((4, 6, 7))
    expected = sum(convolved(x, w, p) for w, p in zip(weights, parts, strict=True))
    got = convolved(x, arithmetic.summed(weights, parts, whole), whole)
    np.testing.assert_allclose(got, expected, 1e-12, 1e-12)
