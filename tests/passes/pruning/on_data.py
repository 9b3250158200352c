"""Runs a pass on a model with data, and says how far the result is from what it was."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from ocompress.analysis import AnalysisManager
from ocompress.diagnostics import Diagnostics
from ocompress.ir import Model, Node, onnx_api
from ocompress.pipeline import Allowance, Context, Guard, Outcome, Pass, Verdict
from ocompress.runtime import Session
from tests.build import InMemory
from tests.contract.harness import TARGET, check

Feeds = dict[str, np.ndarray]


def batches(model: Model, seed: int = 0, count: int = 6, each: int = 16) -> list[Feeds]:
    """Draw feeds for a model of one input; pictures have channels that hang together."""
    value = model.graph.inputs[0]
    assert value.shape is not None
    extents = [e for e in value.shape[1:] if isinstance(e, int)]
    rng = np.random.default_rng(seed)
    if len(extents) < 3:
        draws = rng.standard_normal((count, each, *extents))
    else:
        channels, *places = extents
        mix = np.random.default_rng(5).standard_normal((channels, channels)) + 1
        draws = np.moveaxis(rng.standard_normal((count, each, *places, channels)) @ mix, -1, 2)
    return [{value.name: draw.astype(np.float32)} for draw in draws]


def context(
    model: Model, *, data: bool = True, guards: Sequence[Guard] = (), samples: int = 96
) -> Context:
    feeds = InMemory(batches(model, count=-(-samples // 16))).take(samples) if data else None
    manager = AnalysisManager(feeds)
    return Context(
        target=TARGET,
        analyses=manager,
        diagnostics=Diagnostics(),
        allowance=Allowance(guards),
        clock=next((g for g in guards if isinstance(g, Stopwatch)), None),
    )


def run(
    item: Pass,
    model: Model,
    *,
    data: bool = True,
    guards: Sequence[Guard] = (),
    samples: int = 96,
) -> tuple[Model, Outcome, Context]:
    """Run a pass on a copy of a model; return what became of it, and what was said."""
    after = model.clone()
    onnx_api.infer_types(after)
    ctx = context(model, data=data, guards=guards, samples=samples)
    outcome = ctx.run_one(item, after)
    check(after)
    return after, outcome, ctx


def error(model: Model, other: Model) -> float:
    """Return the noise over the signal of the output, on feeds that no pass has seen."""
    left, right = Session(model), Session(other)
    lost = power = 0.0
    for feeds in batches(model, 9, 3):
        a, b = left.run(feeds)["y"], right.run(feeds)["y"]
        lost, power = lost + float(np.square(a - b).sum()), power + float(np.square(a).sum())
    return lost / power


def weight_of(node: Node) -> np.ndarray | None:
    value = node.input(1)
    return None if value is None else value.constant


class Fake:
    """A guard that judges by a rule of the test."""

    def __init__(self, kind: str, rule: Callable[[Model, Model], Verdict]) -> None:
        self.kind, self.rule, self.asked = kind, rule, 0
        self.limit = 1.0

    def judge(self, candidate: Model, best: Model) -> Verdict:
        self.asked += 1
        return self.rule(candidate, best)


class Stopwatch(Fake):
    """A guard and a clock: a layer takes as many milliseconds as its weight has elements."""

    def __init__(self, ratio: float = 0.8) -> None:
        super().__init__("latency", lambda *_: Verdict(True, "latency", "", {"ratio": ratio}))
        self.feeds: Mapping[str, np.ndarray] = {}

    def layer_times(self, models: Sequence[Model]) -> list[Mapping[str, float]]:
        return [
            {n.label: float(w.size) for n in m.graph.nodes if (w := weight_of(n)) is not None}
            for m in models
        ]
