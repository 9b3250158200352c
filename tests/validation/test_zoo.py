"""Every odd model of the zoo is its own faithful candidate."""

from __future__ import annotations

import json

import pytest

from ocompress.validation import AccuracyGuard, validate
from tests.build import InMemory, feeds
from tests.graphs import ZOO


@pytest.mark.parametrize("name", sorted(ZOO))
def test_a_clone_passes(name: str) -> None:
    model = ZOO[name]()
    data = InMemory([feeds(model), feeds(model, seed=1)])
    result = validate(model, model.clone(), data)
    assert result.passed, result.failures
    assert result.samples == data.samples
    first = result.levels[0].outputs
    assert all(output.exact for output in first)
    assert all(output.sqnr_db > 100 for output in result.levels[1].outputs)
    json.dumps(result.to_json(), allow_nan=False)
    assert AccuracyGuard(model, data, 0.0).judge(model.clone(), model).held
