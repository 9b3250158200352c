"""Gathering second moments: in loads that fit into memory, for every input once."""

from __future__ import annotations

import numpy as np
import pytest

from ocompress.ir import Model
from passes.quantization import weight_moments, weight_sites
from passes.quantization.weight_forms import Role
from passes.quantization.weight_site import SiteRules, WeightSite
from tests.contract.harness import context
from tests.graphs import ZOO

BLOCKS = dict.fromkeys(Role, 0)
RULES = SiteRules("int8", BLOCKS, ("MatMul", "Gemm"), (), 1, kernel="auto", keep_slower=True)


def sites_of(model: Model) -> list[WeightSite]:
    return weight_sites.collect(model, RULES, lambda *_: None)


def test_a_load_holds_what_fits_and_inputs_shared_count_once() -> None:
    sites = sites_of(ZOO["attention"]())
    assert len(sites) == 4  # three of one input, one of another
    one = 8 * 16 * 16
    assert [len(load) for load in weight_moments.loads(sites, 2 * one)] == [4]
    assert [len(load) for load in weight_moments.loads(sites, one)] == [3, 1]
    assert [len(load) for load in weight_moments.loads(sites, 0)] == [1, 1, 1, 1]


def test_moments_are_those_of_the_inputs_and_are_not_kept() -> None:
    model = ZOO["shared_weights"]()
    ctx = context(model)
    sites = sites_of(model)
    found = weight_moments.gather(sites, model, ctx)
    shared = next(s for s in sites if len(s.nodes) == 2)
    rows = {n: np.concatenate([f[n] for f in ctx.data]) for n in ("x", "z")}
    expected = np.mean([r.T @ r / len(r) for r in rows.values()], axis=0)
    made = found[id(shared.value)]
    assert np.trace(made) == pytest.approx(np.trace(expected), rel=1e-4)
    apart = ~np.eye(len(made), dtype=bool)  # what inputs have in common by luck is shrunk away
    assert np.corrcoef(made[apart], expected[apart])[0, 1] > 0.9
    assert np.square(made[apart]).mean() < 0.5 * np.square(expected[apart]).mean()
    assert len(found) == 2
    assert not ctx.analyses.statistics
