"""Edits of every lossy pass are small values: another process makes the same of them."""

from __future__ import annotations

import multiprocessing
import pickle
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from functools import cache

import pytest

from ocompress.ir import Model, text
from ocompress.lossy import LossyPass, Plan
from ocompress.pipeline import all_passes, find
from tests.contract.enrolled import GRAPHS, MISSING, RUNNABLE, graphs_for, pass_of
from tests.contract.harness import context

PROPOSING = [cls.name for cls in all_passes() if issubclass(cls, LossyPass)]
LEAST_BYTES = 4096
"""What names, settings and pickle itself take at most, beside a share of the weights."""


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[Executor]:
    spawned = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawned) as pool:
        yield pool


def applied(model: bytes, edits: bytes) -> tuple[list[bool], str]:
    """Apply edits to a model, one after the other; all are pickled."""
    found: Model = pickle.loads(model)
    done = [edit.apply(found) for edit in pickle.loads(edits)]
    found.sort()
    found.verify()
    return done, text(found)


@cache
def planned(name: str) -> tuple[Model, Plan]:
    """Return the first graph on which a pass finds something to do, and what that is."""
    item = pass_of(name)
    assert isinstance(item, LossyPass)
    for graph in graphs_for(name):
        model = GRAPHS[graph]()
        context(model).run_one(find("canonicalize")(), model)
        plan = item.asked(item.propose(model, context(model)))
        if plan:
            return model, plan
    pytest.fail(f"{name} proposes nothing for any graph")


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=() if n in RUNNABLE else MISSING) for n in PROPOSING]
)
def test_another_process_makes_the_same_of_edits(name: str, elsewhere: Executor) -> None:
    model, plan = planned(name)
    assert all(move.edit is not None for move in plan.values())
    edits = [move.edit for move in plan.values()]
    sent = pickle.dumps(edits)
    assert len(sent) <= LEAST_BYTES * len(edits) + 2 * model.weight_bytes
    before = text(model)
    here = applied(pickle.dumps(model), sent)
    assert here[0] == [True] * len(edits)
    assert here[1] != before
    assert elsewhere.submit(applied, pickle.dumps(model), sent).result(60) == here
    assert text(model) == before
