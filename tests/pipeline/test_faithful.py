"""Passes that say they keep the outputs, and one that does not."""

from __future__ import annotations

import numpy as np
import pytest

from ocompress.ir import Facet, Model, edit
from ocompress.pipeline import (
    Context,
    Family,
    Numerics,
    Outcome,
    Pass,
    PassManager,
    Pipeline,
    PipelineResult,
    Status,
    option,
)
from ocompress.pipeline.faithful import first_that
from ocompress.targets import Arch, Target
from ocompress.validation.equivalence import RoundingEquivalence
from tests.build import feeds
from tests.graphs import ZOO
from tests.pipeline.passes import Scale

MODEL = ZOO["mlp"]()


class Permute(Pass):
    """Nudge a weight by so little that only rounding shows, once."""

    name = "permute"
    numerics = Numerics.ROUNDING
    may_change = Facet.WEIGHTS
    place: int = option(0, help="Which weight.")

    def run(self, model: Model, ctx: Context) -> Outcome:
        return _times(model, self.place, 1 + 2.0**-23)


class Crooked(Pass):
    """Say that the outputs stay, and make a weight larger by a hundredth, once."""

    name = "crooked"
    numerics = Numerics.EXACT
    may_change = Facet.WEIGHTS

    def run(self, model: Model, ctx: Context) -> Outcome:
        return _times(model, 1, 1.01)


def _times(model: Model, place: int, factor: float) -> Outcome:
    values = list(model.graph.initializers.values())
    data, value = values[place].data, values[place]
    assert data is not None
    wanted = np.asarray(_original(place) * np.float32(factor), np.float32)
    if np.array_equal(data, wanted):
        return Outcome()
    edit.set_weight(value, wanted)
    return Outcome(Facet.WEIGHTS, {"times": 1})


def _original(place: int) -> np.ndarray:
    data = list(MODEL.graph.initializers.values())[place].data
    assert data is not None
    return data


class Mixed(Family):
    """Two members that keep the outputs around one that does not."""

    name = "mixed"
    numerics = Numerics.ROUNDING
    members = ("permute", "crooked", "permute-more")

    def parts(self) -> list[Pass]:
        return [Permute(), Crooked(), More(place=2)]


class More(Permute):
    """Another one."""

    name = "permute-more"


def run(*items: Pass, looks: bool = True) -> PipelineResult:
    look = RoundingEquivalence([feeds(MODEL), feeds(MODEL, seed=1)]) if looks else None
    target = Target(name="test", arch=Arch.ANY)
    return PassManager(target=target, equivalence=look).run(Pipeline(items), MODEL)


def weight(model: Model, place: int) -> np.ndarray:
    data = list(model.graph.initializers.values())[place].data
    assert data is not None
    return np.asarray(data / _original(place))


def test_a_pass_that_changes_outputs_is_left_out_and_named() -> None:
    result = run(Permute(), Crooked(), More(place=2))
    assert [r.status for r in result.records] == [
        Status.APPLIED,
        Status.ROLLED_BACK,
        Status.APPLIED,
    ]
    np.testing.assert_array_equal(weight(result.model, 1), 1)
    assert weight(result.model, 0).max() > 1
    assert weight(result.model, 2).max() > 1
    (verdict,) = result.records[1].verdicts
    assert not verdict.held
    assert "'crooked' is meant to keep the outputs, but output 'y' is off by" in verdict.message
    assert [r.code for r in result.diagnostics.of("crooked")] == ["outputs-changed"]
    assert not result.held


def test_without_a_look_it_is_taken_at_its_word() -> None:
    result = run(Crooked(), looks=False)
    assert result.records[0].status is Status.APPLIED
    np.testing.assert_allclose(weight(result.model, 1), 1.01, rtol=1e-5)


def test_a_member_of_a_family_is_left_out_alone() -> None:
    result = run(Mixed())
    (record,) = result.records
    assert record.status is Status.APPLIED
    assert record.counts == {"times": 2}
    np.testing.assert_array_equal(weight(result.model, 1), 1)
    assert weight(result.model, 2).max() > 1
    (verdict,) = record.verdicts
    assert "its pass 'crooked' is meant to keep the outputs" in verdict.message
    assert not result.held


def test_what_lossy_passes_do_is_not_held_against_those_behind_them() -> None:
    class Nudge(Pass):
        """Nudge the first weight."""

        name = "nudge"
        numerics = Numerics.ROUNDING

        def run(self, model: Model, ctx: Context) -> Outcome:
            value = next(iter(model.graph.initializers.values()))
            assert value.data is not None
            edit.set_weight(value, value.data * np.float32(1 + 2.0**-23))
            return Outcome(Facet.WEIGHTS)

    result = run(Scale(by=2), Nudge())
    assert [r.status for r in result.records] == [Status.APPLIED] * 2


def test_one_look_at_all_of_them_is_enough() -> None:
    class Counting(RoundingEquivalence):
        asked = 0

        def difference(self, before: Model, after: Model) -> str:
            self.asked += 1
            return super().difference(before, after)

    look = Counting([feeds(MODEL)])
    manager = PassManager(target=Target(name="test", arch=Arch.ANY), equivalence=look)
    manager.run(Pipeline((Permute(), More(place=2), Permute(place=4))), MODEL)
    assert look.asked == 1
    manager.run(Pipeline((Scale(by=2),)), MODEL)
    assert look.asked == 1


@pytest.mark.parametrize("count", range(1, 12))
def test_the_first_that_differs_is_found_by_halving(count: int) -> None:
    models = [MODEL.clone() for _ in range(count)]
    for first in range(count):
        asked: list[int] = []

        def differs(model: Model, asked: list[int] = asked, first: int = first) -> bool:
            asked.append(models.index(model))
            return asked[-1] >= first

        assert first_that(models, differs) == first
        assert len(asked) <= 4


def test_what_a_pass_does_not_own_up_to_is_not_kept() -> None:
    class Silent(Pass):
        """Change a weight and say that nothing was changed."""

        name = "silent"

        def run(self, model: Model, ctx: Context) -> Outcome:
            _times(model, 1, 1.5)
            return Outcome()

    result = run(Silent(), looks=False)
    assert result.records[0].status is Status.UNCHANGED
    np.testing.assert_array_equal(weight(result.model, 1), 1)
