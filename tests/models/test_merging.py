"""Every architecture at hand computes the same after its layers were merged: slow."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ocompress import load
from ocompress.analysis.cost import count
from ocompress.ir import Model, query
from ocompress.pipeline import find
from ocompress.runtime import Level, Session
from tests.build import feeds
from tests.contract.harness import check, context
from tests.models.test_channels import MODELS, REAL, with_weights

FIRE = {
    "light_densenet121": "averages swapped",
    "light_inception_v2": "averages swapped",
    "ppocr-cls": "layers merged into others",
    "ppocrv4-det": "layers merged into others",
}


def fed(model: Model) -> dict[str, np.ndarray]:
    """Draw inputs; extents that are free behind the batch become ones that the nets take."""
    given, rng = {}, np.random.default_rng(0)
    for value in model.graph.inputs:
        if value.shape is not None and len(value.shape) == 4:
            tail = [e if isinstance(e, int) else 320 for e in value.shape[1:]]
            given[value.name] = rng.standard_normal((1, *tail), np.float32)
    return given or feeds(model, 0, 4)


@pytest.mark.slow
@pytest.mark.parametrize("path", [*MODELS, *REAL], ids=lambda p: p.stem)
def test_outputs_agree(path: Path) -> None:
    model = with_weights(path) if path.stem.startswith("light") else load(path)
    ctx = context(model)
    ctx.run_one(find("canonicalize")(), model)
    before = model.clone()
    outcome = ctx.run_one(find("merge-layers")(), model)
    assert FIRE.get(path.stem, "") in ("", *outcome.counts)
    if not outcome:
        return
    check(model)
    assert sum(count(model).macs.values()) <= sum(count(before).macs.values())
    assert model.weight_bytes <= before.weight_bytes
    inputs = fed(before)
    left, right = (session.run(inputs) for session in map(_session, (before, model)))
    assert left.keys() == right.keys()
    for name, expected in left.items():
        reach = float(np.abs(expected).max())
        assert reach > 0
        np.testing.assert_allclose(right[name], expected, 0, max(1e-5 * reach, 2e-7))


def _session(model: Model) -> Session:
    """Return what a last Sigmoid or Softmax reads, too, which random inputs may saturate."""
    ends = [query.made_by(value, "Sigmoid", "Softmax") for value in model.graph.outputs]
    inner = [node.inputs[0] for node in ends if node is not None]
    extra = [value for value in inner if value is not None]
    return Session(model, level=Level.DISABLED, extra_outputs=extra)
