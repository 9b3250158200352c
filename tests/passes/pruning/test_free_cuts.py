"""Taking out what does nothing loses nothing, whatever the channels are to the layers behind."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ocompress.analysis import AnalysisManager
from ocompress.diagnostics import Diagnostics
from ocompress.ir import Model, onnx_api
from ocompress.pipeline import Context, Outcome, Pass
from ocompress.runtime import Session
from passes.pruning.prune_channels import PruneChannels
from passes.pruning.prune_heads import PruneHeads
from passes.pruning.prune_layers import PruneLayers
from tests.contract.harness import TARGET, check
from tests.passes.pruning import layouts


def cut(item: Pass, model: Model) -> tuple[Model, Outcome, Context]:
    after = model.clone()
    onnx_api.infer_types(after)
    manager = AnalysisManager(layouts.feeds(model, 1))
    ctx = Context(target=TARGET, analyses=manager, diagnostics=Diagnostics())
    outcome = ctx.run_one(item, after)
    check(after)
    return after, outcome, ctx


def sqnr_db(model: Model, other: Model) -> float:
    """Return signal over noise of the output on samples that no pass has seen, in dB."""
    left, right = Session(model), Session(other)
    signal = noise = 0.0
    for fed in layouts.feeds(model, 2):
        wanted, made = left.run(fed)["y"], right.run(fed)["y"]
        signal += float(np.square(wanted, dtype=np.float64).sum())
        noise += float(np.square(wanted - made, dtype=np.float64).sum())
    return 10 * math.log10(signal / max(noise, 1e-30))


NETS = {
    **{name: layouts.series(name) for name in layouts.MIDDLES},
    **{f"{name}-last": layouts.series(name, channels_last=True) for name in layouts.MIDDLES},
    **{f"{name}-flat": layouts.series(name, flat=True) for name in layouts.MIDDLES},
    "pictures": layouts.pictures(),
    **{
        f"{kind}-in-batch-of-{batch}": layouts.folded(kind, batch)
        for kind in ("gemm", "conv", "transposed")
        for batch in (1, 4)
    },
}


@pytest.mark.parametrize("name", NETS)
def test_channels_that_do_nothing_go_for_free(name: str) -> None:
    model = NETS[name]
    item = PruneChannels(ratio=0.5, scope="layer", multiple=1, exclude=("kept*", "y"))
    after, outcome, _ = cut(item, model)
    assert outcome.counts["channels removed"] == layouts.WIDE // 2
    assert sqnr_db(model, after) > 60


@pytest.mark.parametrize("kind", ["batch", "places"])
def test_heads_that_do_nothing_go_for_free(kind: str) -> None:
    model = layouts.attention(kind)
    after, outcome, _ = cut(PruneHeads(ratio=0.5), model)
    assert outcome.counts["channels removed"] == layouts.HEADS // 2
    assert sqnr_db(model, after) > 60


@pytest.mark.parametrize("middle", layouts.MIDDLES)
def test_branches_that_do_nothing_go_for_free(middle: str) -> None:
    model = layouts.branches(middle)
    after, outcome, _ = cut(PruneLayers(count=1), model)
    assert outcome.counts == {"branches removed": 1}
    assert sqnr_db(model, after) > 60
