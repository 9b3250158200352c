"""Which weights a pass may touch."""

from __future__ import annotations

import pytest

from ocompress.lossy.layer_weights import OP_TYPES, Rules, collect
from tests.build import Builder
from tests.contract.harness import context


@pytest.mark.parametrize(("smallest", "left_alone"), [(48, []), (49, ["small"])])
def test_small_is_what_has_fewer_elements_than_asked_for(
    smallest: int, left_alone: list[str]
) -> None:
    b = Builder()
    h = b.op("Gemm", b.input("x", ["n", 6]), b.weight(6, 8), to="small")
    b.output(b.op("Gemm", h, b.weight(8, 9), to="large"), ["n", 9])
    model = b.model()
    ctx = context(model)
    found = collect(model, Rules(OP_TYPES, (), False, True, smallest), ctx)
    assert [w.name for w in found] == [n for n in ("small", "large") if n not in left_alone]
    assert {r.node: r.code for r in ctx.left_alone} == dict.fromkeys(left_alone, "too-small")
