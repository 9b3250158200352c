"""Runs canonical passes on small models and compares outputs bit for bit."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np

from ocompress.diagnostics import Remark
from ocompress.ir import Model, text, to_proto
from ocompress.pipeline import Outcome, find
from ocompress.runtime import Level, Session
from tests.build import feeds
from tests.contract.harness import check, context


@dataclass(frozen=True)
class Ran:
    """A pass that ran on a clone of a model."""

    before: Model
    after: Model
    outcome: Outcome
    remarks: list[Remark]

    @property
    def ops(self) -> Counter[str]:
        return Counter(node.op_type for _, node in self.after.nodes())

    @property
    def codes(self) -> set[str]:
        return {remark.code for remark in self.remarks}

    @property
    def text(self) -> str:
        return text(self.after)

    def same_bits(self, **given: np.ndarray) -> None:
        """Check that the outputs before and after are the same bits, and not trivially so."""
        check(self.after)
        inputs = {**feeds(self.before), **given}
        wanted = Session(self.before, level=Level.DISABLED).run(inputs)
        kept = {value.name for value in self.after.graph.inputs}
        fed = {name: array for name, array in inputs.items() if name in kept}
        got = Session(self.after, level=Level.DISABLED).run(fed)
        assert wanted.keys() == got.keys()
        for name, array in wanted.items():
            assert got[name].dtype == array.dtype
            assert got[name].shape == array.shape
            assert got[name].tobytes() == array.tobytes(), name


def run(name: str, model: Model, *, types: bool = True, **options: Any) -> Ran:
    """Run one pass once, after inferring types; its outcome must tell the truth."""
    if types:
        context(model).run_one(find("infer-shapes")(), model)
    after = model.clone()
    before_bytes = to_proto(after, packed=False).SerializeToString(deterministic=True)
    ctx = context(after)
    outcome = ctx.run_one(find(name)(**options), after)
    after_bytes = to_proto(after, packed=False).SerializeToString(deterministic=True)
    assert bool(outcome) == (before_bytes != after_bytes)
    return Ran(model, after, outcome, ctx.diagnostics.of(name))
