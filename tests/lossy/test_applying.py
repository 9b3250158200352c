"""What becomes of chosen moves: edits are made, layers behind are fitted, the report tells both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from ocompress.ir import Model, edit
from ocompress.lossy import applying
from ocompress.lossy.engine import Chosen, LossyPass, Plan, Proposal, Reason
from ocompress.pipeline import Context
from ocompress.planning import Move
from tests.build import Builder
from tests.contract.harness import context

LAYERS = ["first", "second", "third", "fourth"]


@dataclass(frozen=True)
class Halves:
    """Rounds the weight of a layer to halves; does nothing if told so."""

    layer: str
    works: bool = True

    def apply(self, model: Model) -> bool:
        if self.works:
            node = next(n for n in model.graph.nodes if n.label == self.layer)
            edit.set_weight(edit.own_weight(node, 1), _halves(_weight(model, self.layer)))
        return self.works


def _halves(weight: np.ndarray) -> np.ndarray:
    found: np.ndarray = (np.round(weight * 2) / 2).astype(np.float32)
    return found


def _weight(model: Model, layer: str) -> np.ndarray:
    value = next(n for n in model.graph.nodes if n.label == layer).input(1)
    assert value is not None
    assert value.data is not None
    return value.data


def _chain() -> Model:
    b = Builder(4)
    h = b.input("x", ["n", 6])
    for name in LAYERS:
        h = b.op("Gemm", h, b.weight(6, 6, scale=0.6), b.weight(6), to=name)
        h = b.op("Relu", h) if name != LAYERS[-1] else h
    b.output(h, ["n", 6])
    return b.model()


def _plan(**works: bool) -> dict[str, Move]:
    return {
        name: Move(name, "halves", "of one", 0.25, 0, 0.0, edit=Halves(name, does))
        for name, does in works.items()
    }


def test_layers_behind_are_fitted_and_no_others() -> None:
    model = _chain()
    built = applying.build(model, _plan(second=True, third=True), context(model, 32), fit=True)
    np.testing.assert_array_equal(_weight(built.model, "first"), _weight(model, "first"))
    for name in ("second", "third"):  # the third is behind the second, but on its grid
        np.testing.assert_array_equal(_weight(built.model, name), _halves(_weight(model, name)))
    assert built.fits.keys() == {"fourth"}
    assert (_weight(built.model, "fourth") != _weight(model, "fourth")).any()
    assert built.fits["fourth"].after < built.fits["fourth"].before
    assert built.done == {"second", "third"}


def test_what_comes_behind_a_change_that_is_no_layer_is_to_be_fitted() -> None:
    model = _chain()
    relu = [n.label for n in model.graph.nodes if n.is_op("Relu")]

    def behind(*changed: str) -> list[str]:
        return [job.nodes[0].label for job in applying.jobs_behind(model, changed)]

    assert behind() == LAYERS
    assert behind(relu[1], relu[2]) == LAYERS[2:]
    assert behind("second") == LAYERS[2:]  # not itself


@pytest.mark.parametrize("data", [True, False])
def test_a_model_that_is_not_fitted_has_the_edits_alone(data: bool) -> None:
    model = _chain()
    built = applying.build(model, _plan(first=data), context(model), fit=not data)
    assert not built.fits  # asked not to be, or nothing was changed to make up for
    assert built.done == ({"first"} if data else frozenset())
    np.testing.assert_array_equal(_weight(built.model, "second"), _weight(model, "second"))


class Halving(LossyPass):
    """Says what others chose."""

    name = "halving"
    noun = "halves"

    def propose(self, model: Model, ctx: Context) -> Proposal:
        raise NotImplementedError

    def asked(self, proposal: Any) -> Plan:
        raise NotImplementedError


class Parts(Proposal):
    def leaving(self, share: float) -> Plan:
        raise NotImplementedError


def test_the_report_tells_made_moves_from_those_that_were_not() -> None:
    model, plan = _chain(), _plan(second=True, third=False)
    proposal = Parts({name: [name] for name in LAYERS})
    proposal.reasons["first"] = Reason("stable", "it is told")
    ctx = context(model)
    chosen = Chosen(plan, Halving().build(model, plan, ctx, fit=False))
    outcome = Halving().finish(model, proposal, chosen, ctx)
    assert outcome.counts == {"halves made": 1}
    rows = {row["name"]: row for row in outcome.details["moves"]}
    assert rows["second"]["method"] == "halves"
    assert {name: row.get("code") for name, row in rows.items()} == {
        "first": "stable",
        "second": None,
        "third": "not-chosen",
        "fourth": "not-chosen",
    }
    assert outcome.details["error"]["predicted"] == 0.25  # of what was made
    np.testing.assert_array_equal(_weight(model, "second"), _halves(_weight(_chain(), "second")))


def test_nothing_made_changes_nothing() -> None:
    model, plan = _chain(), _plan(second=False)
    ctx, proposal = context(model), Parts({"second": ["second"]})
    chosen = Chosen(plan, Halving().build(model, plan, ctx, fit=True))
    assert not Halving().finish(model, proposal, chosen, ctx)
    np.testing.assert_array_equal(_weight(model, "second"), _weight(_chain(), "second"))
