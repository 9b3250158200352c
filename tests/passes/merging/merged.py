"""Runs a merge on a small net; counts what the net took before and takes after."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ocompress.analysis.cost import count
from ocompress.analysis.macs import resolver
from ocompress.analysis.shapes import with_shapes
from ocompress.ir import Model
from tests.build import Builder
from tests.passes.canonical.folding import Result, run

Net = Callable[[Builder, str], str]


@dataclass(frozen=True)
class Merged:
    """A merge that ran."""

    result: Result

    @property
    def ops(self) -> Counter[str]:
        found = self.result.ops
        del found["Identity"]
        return found

    @property
    def codes(self) -> Counter[str]:
        return self.result.codes

    @property
    def ratio(self) -> float:
        """Multiply-accumulates after by those before."""
        return _work(self.result.after) / _work(self.result.before)

    def cheaper(self, tolerance: float = 2e-6) -> Merged:
        """Compare outputs; no multiplication more, and no byte more for as many."""
        assert self.result.outcome
        self.result.same(tolerance)
        before, after = _work(self.result.before), _work(self.result.after)
        assert after <= before
        gone = len(self.result.before.graph) - len(self.result.after.graph)
        assert after < before or self.bytes[1] <= self.bytes[0] + 64 * gone
        return self

    @property
    def bytes(self) -> tuple[int, int]:
        return self.result.before.weight_bytes, self.result.after.weight_bytes


def merge(
    name: str,
    net: Net,
    shape: Sequence[Any],
    *,
    opset: int = 17,
    dtype: Any = np.float32,
    seed: int = 0,
) -> Merged:
    """Run a merge on a net of one input; an Identity makes the output."""
    b = Builder(seed)
    kind = {"float32": 1, "float64": 11, "float16": 10}[np.dtype(dtype).name]
    b.op("Identity", net(b, b.input("x", list(shape), kind)), to="y")
    b.output("y", None, kind)
    return Merged(run(name, b.model(opset)))


def refused(name: str, net: Net, shape: Sequence[Any], code: str, *, opset: int = 17) -> None:
    """Run a merge that must leave a net alone and say why."""
    done = merge(name, net, shape, opset=opset)
    assert code in done.codes, done.codes
    assert not done.result.outcome


def _work(model: Model) -> int:
    """Count multiply-accumulates, and elements that averages add up."""
    shaped = with_shapes(model, {})
    shapes, added = resolver(shaped, {}), 0
    for _, node in shaped.nodes():
        if node.is_op("AveragePool"):
            made = shapes(node.output)
            assert made is not None
            added += math.prod(made) * math.prod(node.attr("kernel_shape"))
        elif node.is_op("GlobalAveragePool", "ReduceMean"):
            read = shapes(node.inputs[0])
            assert read is not None
            added += math.prod(read)
    cost = count(model)
    assert not cost.unknown
    return added + sum(cost.macs.values())
