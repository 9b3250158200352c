"""Every architecture at hand goes through `factorize` and `separable` and stays valid: slow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ocompress import load
from ocompress.analysis import AnalysisManager
from ocompress.analysis.work import work_of
from ocompress.diagnostics import Diagnostics
from ocompress.io import load_data, load_model
from ocompress.ir import Model
from ocompress.pipeline import Context, PassManager, Pipeline, find
from ocompress.runtime import Session
from ocompress.targets import find as find_target
from passes.factorization.factorize import Factorize
from passes.factorization.replacing import Replace
from passes.factorization.separable import Separable
from tests.build import feeds
from tests.contract.harness import TARGET, check
from tests.models.test_channels import MODELS, REAL, ROOT, with_weights
from tests.models.test_nets import NETS, accuracy

PASSES = [Factorize(max_macs=0.8), Separable(max_macs=0.8)]
DROPS = {
    "factorize{max_macs=0.85},quant": 0.01,
    "separable{max_macs=0.85},quant": 0.02,
    "prune-channels{max_macs=0.9},factorize{max_macs=0.9},quant": 0.02,
}


def through(model: Model, item: Replace) -> None:
    """Run a pass by the weights alone; what it says and what it makes must fit."""
    ctx = Context(target=TARGET, analyses=AnalysisManager(None), diagnostics=Diagnostics())
    ctx.run_one(find("canonicalize")(), model)
    ends = [[(v.name, v.dtype, v.shape) for v in side] for side in _sides(model)]
    before, work = model.weight_bytes, sum(work_of(model, None).values())
    outcome = ctx.run_one(item, model)
    check(model)
    assert [[(v.name, v.dtype, v.shape) for v in side] for side in _sides(model)] == ends
    if outcome:
        assert model.weight_bytes < before
        assert sum(work_of(model, None).values()) < work
    else:
        assert ctx.diagnostics.declined()
    results = Session(model).run(feeds(model, 9))
    assert all(np.isfinite(a).all() for a in results.values())


def _sides(model: Model) -> tuple[Any, Any]:
    return model.graph.inputs, model.graph.outputs


@pytest.mark.slow
@pytest.mark.parametrize("item", PASSES, ids=lambda p: p.name)
@pytest.mark.parametrize("path", MODELS, ids=lambda p: p.stem)
def test_light_architectures(path: Path, item: Replace) -> None:
    through(with_weights(path), item)


@pytest.mark.slow
@pytest.mark.parametrize("item", PASSES, ids=lambda p: p.name)
@pytest.mark.parametrize("path", REAL, ids=lambda p: p.stem)
def test_real_nets(path: Path, item: Replace) -> None:
    through(load(path), item)


@pytest.mark.slow
@pytest.mark.parametrize("passes", DROPS)
@pytest.mark.parametrize("name", NETS)
def test_passes_in_a_row(name: str, passes: str) -> None:
    model = load_model(ROOT / f"{name}.onnx")
    data = load_data(ROOT / "data/fashion_calib.npz", model).take(512)
    manager = PassManager(target=find_target("host"), data=data)
    result = manager.run(Pipeline.parse(passes), model)
    assert accuracy(result.model, 2000) >= accuracy(model, 2000) - DROPS[passes]
