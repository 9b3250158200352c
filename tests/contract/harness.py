"""Runs one pass over one graph and keeps what the contract is about."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ocompress.analysis import AnalysisManager
from ocompress.diagnostics import Diagnostics
from ocompress.ir import Model, edit, onnx_api, text, to_proto
from ocompress.pipeline import Context, Outcome, Pass, find
from ocompress.runtime import Level, Session
from ocompress.targets import Arch, Target
from tests.build import InMemory, feeds

TARGET = Target(name="test", arch=Arch.X86_64, features=frozenset({"avx2"}), saturates=True)


@dataclass(frozen=True)
class Run:
    """A pass that ran: the model before and after, and what it said."""

    before: Model
    after: Model
    outcome: Outcome
    diagnostics: Diagnostics


def context(model: Model, batch: int = 3) -> Context:
    data = InMemory([feeds(model, seed, batch) for seed in range(4)])
    analyses, said = AnalysisManager(data), Diagnostics()
    original = elder(model)
    return Context(target=TARGET, analyses=analyses, diagnostics=said, original=original)


def elder(model: Model) -> Model:
    """Return what a model might have been before weights of it were changed a little."""
    original, rng = model.clone(), np.random.default_rng(5)
    for value in original.graph.initializers.values():
        if value.data is not None and value.data.dtype == np.float32 and value.data.ndim:
            noise = 0.1 * rng.standard_normal(value.data.shape)
            edit.set_weight(value, (value.data * (1 + noise)).astype(np.float32))
    return original


def run_pass(item: Pass, build: Callable[[], Model], batch: int = 3) -> Run:
    """Run `item` on a graph; passes that are no part of `canonicalize` get the canonical form.

    Symbolic extents of the data are `batch`.
    """
    before = build()
    members = find("canonicalize").members  # type: ignore[attr-defined]
    if item.name != "canonicalize" and item.name not in members:
        context(before).run_one(find("canonicalize")(), before)
    after = before.clone()
    ctx = context(after, batch)
    outcome = ctx.run_one(item, after)
    return Run(before, after, outcome, ctx.diagnostics)


def outputs(model: Model, seed: int = 7) -> dict[str, np.ndarray]:
    """Run a model without graph optimizations, so that only the pass can make a difference."""
    return Session(model, level=Level.DISABLED).run(feeds(model, seed))


def check(model: Model) -> None:
    model.verify()
    onnx_api.check(to_proto(model))


def rerun(run: Run, item: Pass) -> tuple[Outcome, str]:
    """Run the pass on its own result."""
    again = run.after.clone()
    outcome = context(again).run_one(item, again)
    return outcome, text(again)
