"""Window arithmetic, against windows that are walked one place at a time."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ocompress.analysis.linear_layer import Refusal
from passes.merging import forms
from passes.merging.forms import Axis, LinearForm

axes = st.builds(
    Axis,
    kernel=st.integers(1, 4),
    stride=st.integers(1, 3),
    dilation=st.integers(1, 3),
    begin=st.integers(0, 4),
    end=st.integers(0, 4),
).map(lambda a: a if a.kernel > 1 else Axis(1, a.stride, 1, a.begin, a.end))
extents = st.integers(1, 14)


def form(axis: Axis, groups: int = 1) -> LinearForm:
    return forms.form_of(4, 4, [axis], groups)


def taps(axis: Axis, place: int) -> list[int]:
    """Return which elements of its input a place reads, those outside included."""
    start = place * axis.stride - axis.begin
    return [start + tap * axis.dilation for tap in range(axis.kernel)]


@given(axes, extents)
def test_extent_is_the_number_of_whole_windows(axis: Axis, given_extent: int) -> None:
    end = given_extent + axis.end
    places = 0
    while taps(axis, places)[-1] < end:
        places += 1
    assert axis.extent(given_extent) == places


@given(axes, axes, extents)
def test_chained_reads_what_both_read(first: Axis, second: Axis, extent: int) -> None:
    [axis] = forms.chained(form(first), form(second)).axes
    middle = first.extent(extent)
    assume(middle > 0)
    assert axis.extent(extent) == second.extent(middle)
    for place in range(axis.extent(extent)):
        both = {t for m in taps(second, place) for t in taps(first, m)}
        assert both <= set(taps(axis, place))
        assert min(both) == taps(axis, place)[0]
        assert max(both) == taps(axis, place)[-1]


@given(axes, axes, extents)
def test_unseen_pads_are_seen_as_such(first: Axis, second: Axis, extent: int) -> None:
    middle = first.extent(extent)
    assume(middle > 0)
    outside = [*range(-second.begin, 0), *range(middle, middle + second.end)]
    seen = any(0 <= t < extent for m in outside for t in taps(first, m))
    unseen = forms.pads_unseen(form(first), form(second), [extent])
    assert not (unseen and seen)
    assert unseen or seen or first.dilation > 1  # taps further apart might just miss all
    if forms.pads_unseen(form(first), form(second), ["n"]):
        assert not seen


@given(axes, axes, extents)
def test_unknown_extents_promise_less_than_known_ones(
    first: Axis, second: Axis, extent: int
) -> None:
    early, late = forms.areas(form(first), form(second), [extent])
    assume(early > 0 and late > 0)
    guess = forms.areas(form(first), form(second), ["n"])
    assert guess[1] == 1
    assert guess[0] <= early / late


@pytest.mark.parametrize(
    ("axis", "ratio"),
    [
        (Axis(2, 2, 1, 0, 0), Fraction(2)),
        (Axis(3, 1, 1, 1, 1), Fraction(1)),
        (Axis(3, 2, 1, 1, 1), Fraction(1)),
        (Axis(5, 2, 1, 0, 0), Fraction(2)),
        (Axis(3, 1, 1, 2, 2), Fraction(1, 3)),
    ],
)
def test_least_ratio(axis: Axis, ratio: Fraction) -> None:
    assert forms.least_ratio(axis) == ratio


@given(axes, axes, extents)
def test_summed_has_a_place_for_every_tap(one: Axis, other: Axis, extent: int) -> None:
    total = forms.summed(form(one), form(other), [extent])
    if isinstance(total, Refusal):
        assert one.stride != other.stride or one.extent(extent) != other.extent(extent)
        return
    [axis] = total.axes
    assert axis.extent(extent) == one.extent(extent) == other.extent(extent)
    for part in (one, other):
        [at] = forms.places(form(part), total)
        for place in range(axis.extent(extent)):
            assert taps(axis, place)[at] == taps(part, place)


@given(axes, axes)
def test_summed_of_unknown_extents_holds_for_all(one: Axis, other: Axis) -> None:
    total = forms.summed(form(one), form(other), ["n"])
    if isinstance(total, Refusal):
        assert one.stride != other.stride or one.excess != other.excess
        return
    for extent in range(1, 15):
        assert total.axes[0].extent(extent) == one.extent(extent) == other.extent(extent)


def test_groups_are_those_that_both_keep_apart() -> None:
    one = forms.form_of(12, 12, [forms.POINT], 4)
    other = forms.form_of(12, 12, [forms.POINT], 6)
    assert forms.chained(one, other).window.groups == 2
    both = forms.summed(one, other, [None])
    assert isinstance(both, LinearForm)
    assert both.window.groups == 2
    assert both.weights == 12 * 12 // 2
