"""Every odd model of the zoo can be profiled on random numbers."""

from __future__ import annotations

import json

import pytest

from ocompress.profiling import profile
from tests.graphs import ZOO


@pytest.mark.parametrize("name", sorted(ZOO))
def test_a_profile_has_figures(name: str) -> None:
    result = profile(ZOO[name](), runs=5, per_node=True, memory=False)
    assert result.model.latency.runs == 5
    assert result.model.bytes > 0
    json.dumps(result.to_json(), allow_nan=False)
