"""The dense layers at the end as branches that share nothing."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from ocompress.errors import OptionError
from ocompress.ir import Model
from passes.factorization.split import Split
from passes.factorization.trees import dealt, within
from tests.build import Builder
from tests.contract.free import two_trees
from tests.passes.factorization.test_factorize import work
from tests.passes.pruning.on_data import error, run


def net(classes: int = 8, *, turned: bool = False, bias: bool = True, gap: str = "Relu") -> Model:
    """A trunk and two layers whose features are of kinds that have a little to do with others."""
    b = Builder(3)
    rng = np.random.default_rng(4)
    x = b.input("x", ["n", 12])
    h = b.op("Relu", b.op("Gemm", x, b.weight(12, 32), b.weight(32), to="trunk"))
    kinds = [rng.permutation(np.arange(n) % 2) for n in (32, 24, classes)]
    for at, (ins, outs) in enumerate(itertools.pairwise(kinds)):
        near = np.where(ins[:, None] == outs[None], 1.0, 0.15)
        weight = (rng.standard_normal((len(ins), len(outs))) * near / 4).astype(np.float32)
        more: dict[str, Any] = {"transB": 1, "alpha": 0.5, "beta": 2.0} if turned else {}
        given = [b.const(weight.T.copy() if turned else weight)]
        given += [b.weight(len(outs))] if bias else []
        h = b.op("Gemm", h, *given, to=("fc", "y")[at], **more)
        h = b.op(gap, h) if not at else h
    b.output("y", ["n", classes])
    return b.model()


def split(model: Model, *, data: bool = True, **options: Any) -> Any:
    return run(Split(**options), model, data=data)


def gemms(model: Model) -> list[tuple[int, ...]]:
    values = [n.inputs[1] for n in model.graph.nodes if n.is_op("Gemm")]
    return sorted(v.data.shape for v in values if v is not None and v.data is not None)


def test_groups_are_found_however_they_are_mixed() -> None:
    rng = np.random.default_rng(0)
    kinds = [rng.permutation(np.arange(n) % 3) for n in (30, 24, 9)]
    energies = [
        rng.random((len(a), len(b))) * np.where(a[:, None] == b[None], 1.0, 0.2)
        for a, b in itertools.pairwise(kinds)
    ]
    assert within(energies, dealt(energies, 3, 0)) == pytest.approx(within(energies, kinds))


@pytest.mark.parametrize("data", [True, False])
def test_what_is_two_trees_is_written_as_such(data: bool) -> None:
    model, outcome, _ = split(two_trees(), data=data, groups=2)
    assert outcome.counts == {"splits made": 1}
    assert gemms(model) == [(6, 3), (6, 3), (8, 6), (8, 6), (8, 16)]
    assert error(two_trees(), model) < 1e-9


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_what_is_left_is_fitted(turned: bool, bias: bool) -> None:
    before = net(turned=turned, bias=bias)
    model, _, _ = split(before, groups=2)
    assert gemms(model) == sorted([(12, 32), *[(16, 12)] * 2, *[(12, 4)] * 2])
    assert error(before, model) < 0.05
    assert error(before, model) < 0.8 * error(before, split(before, data=False, groups=2)[0])
    used = {v.name for n in model.graph.nodes for v in n.inputs if v is not None}
    assert set(model.graph.initializers) <= used


def test_branches_are_split_again() -> None:
    once, _, _ = split(net(), groups=2)
    twice, outcome, _ = split(once, groups=2, layers=1)
    assert outcome.counts == {"splits made": 2}
    assert gemms(twice) == sorted([(12, 32), *[(16, 12)] * 2, *[(6, 2)] * 4])
    assert error(net(), twice) < 0.5


def test_the_budget_says_how_many() -> None:
    model, _, _ = split(net(), max_macs=0.7)
    assert 0.5 * work(net()) < work(model) <= 0.7 * work(net())
    _, outcome, ctx = split(net(), max_macs=0.2)
    assert not outcome
    assert ctx.diagnostics.declined("split") == {"not-reached": 2}  # both layers of the end


def test_odd_sizes_and_what_stands_between_are_kept() -> None:
    before = net(5, gap="Tanh")
    model, _, _ = split(before, groups=2)
    assert gemms(model)[:2] == [(12, 2), (12, 3)]
    assert [n.op_type for n in model.graph.nodes].count("Tanh") == 2
    assert error(before, model) < 0.05


@pytest.mark.parametrize(
    ("model", "options", "code"),
    [
        (net(), {"exclude": ("fc",)}, "excluded"),
        (net(3), {"groups": 4}, "too-small"),
        (net(gap="Softmax"), {"layers": 2, "groups": 9}, "too-small"),
    ],
)
def test_what_stays_is_named(model: Model, options: dict[str, Any], code: str) -> None:
    _, outcome, ctx = split(model, **options)
    assert not outcome
    assert set(ctx.diagnostics.declined("split")) == {code}


def test_an_end_whose_branches_do_not_run_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("passes.factorization.split.costs_alone", lambda *_: {})
    for options in ({"groups": 2}, {}, {"max_macs": 0.9}):
        _, outcome, ctx = split(net(), **options)
        assert not outcome
        assert sum(ctx.diagnostics.declined("split").values()) == 2


def test_a_model_without_such_an_end_is_left_alone() -> None:
    b = Builder(1)
    b.op("Softmax", b.op("Conv", b.input("x", ["n", 3, 6, 6]), b.weight(4, 3, 6, 6)), to="y")
    b.output("y", ["n", 4, 1, 1])
    _, outcome, ctx = split(b.model())
    assert not outcome
    assert ctx.diagnostics.declined("split") == {"no-end": 1}


def test_one_branch_is_none() -> None:
    with pytest.raises(OptionError, match="2 or more"):
        Split(groups=1)
    with pytest.raises(OptionError, match="not both"):
        Split(groups=2, max_macs=0.5)
