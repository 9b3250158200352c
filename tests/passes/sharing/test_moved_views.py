"""What data tell of a model whose channels were put in order is not measured again."""

from __future__ import annotations

import numpy as np

from ocompress.analysis.channels import ChannelGroups
from ocompress.analysis.linear_rows import Site, site_of
from ocompress.ir import onnx_api
from ocompress.lossy.layer_weights import Rules
from passes.pruning.costs import Views
from passes.pruning.reordering import Reorder, movable
from passes.sharing.moved_views import moved_views
from passes.sharing.walking import collected
from passes.sharing.words import clone_in_order
from tests.passes.pruning.on_data import context
from tests.passes.pruning.removed import groups_of
from tests.passes.pruning.test_reordering import coupled


def test_they_are_as_if_they_were_measured_again() -> None:
    model = coupled()
    onnx_api.infer_types(model)
    rng = np.random.default_rng(0)
    orders = [
        Reorder(ChannelGroups(), at, tuple(int(c) for c in rng.permutation(group.size)))
        for at, group in enumerate(groups_of(model))
        if movable(group)
    ]
    assert len(orders) == 2
    ctx = context(model)
    weights = collected(model, Rules(("Conv", "Gemm"), (), False, True, 0), ctx)
    clone, twins, moved = clone_in_order(model, orders)
    others = {w.name: w.twin(twins) for w in weights}
    sites = {name: s for name, w in others.items() if isinstance(s := site_of(w.nodes[0]), Site)}
    views = Views(model, weights, ctx, "nothing")
    found = {v.candidate.name: v for v in moved_views(views, others, sites, moved)}
    again = {v.candidate.name: v for v in Views(clone, list(others.values()), context(clone), "")}
    before = {v.candidate.name: v for v in views}
    assert found.keys() == again.keys() == {"stem", "up", "down", "depth", "head"}
    for name, view in found.items():
        assert view.candidate is others[name]
        assert view.site is sites[name]
        for one, other in (
            (view.sums.x, again[name].sums.x),
            (view.hessian, again[name].hessian),
            (view.curvature, again[name].curvature),
        ):
            assert one.shape == other.shape
            np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4 * np.abs(other).max())
    for name in ("up", "down", "depth", "head"):
        assert not np.allclose(before[name].hessian, found[name].hessian, rtol=1e-3)
    for name in ("stem", "up", "down", "depth"):
        assert not np.allclose(before[name].curvature, found[name].curvature, rtol=1e-3)
