"""Names of nodes are for people: without them, canonicalize does the same."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from ocompress.ir import Model
from ocompress.pipeline import find
from tests.contract.harness import check, context, outputs
from tests.graphs import ZOO


def canonical(model: Model) -> tuple[list[tuple[str, int]], Counter[str], Counter[str]]:
    """Return what is left, what was done and what was left alone."""
    ctx = context(model)
    outcome = ctx.run_one(find("canonicalize")(), model)
    ops = sorted((n.op_type, len(n.inputs)) for _, n in model.nodes())
    return ops, Counter(outcome.counts), ctx.diagnostics.declined()


@pytest.mark.parametrize("graph", sorted(ZOO))
def test_names_make_no_difference(graph: str) -> None:
    wanted, model = ZOO[graph](), ZOO[graph]()
    for _, node in model.nodes():
        if node.graph is not None and node.name:
            node.graph.names.release(node.name)
        node.name = ""
    assert canonical(model) == canonical(wanted)
    check(model)
    expected, got = outputs(wanted), outputs(model)
    assert expected.keys() == got.keys()
    for key, array in expected.items():
        assert np.array_equal(got[key], array, equal_nan=array.dtype.kind == "f")
