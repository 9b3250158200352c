"""Which pass runs over which graphs, in one place."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

import pytest

from ocompress.ir import Model
from ocompress.pipeline import Numerics, Pass, all_passes, find
from tests.contract.fused import FUSED
from tests.contract.harness import Run, run_pass
from tests.contract.layers import LAYERS
from tests.contract.ranges import RANGES, TWINS
from tests.contract.storable import STORABLE
from tests.contract.untidy import UNTIDY
from tests.graphs import ZOO

PASSES = [cls.name for cls in all_passes()]
RUNNABLE = [cls.name for cls in all_passes() if not cls.missing_packages()]
"""Passes for which all packages are installed; the others are skipped."""
GRAPHS: dict[str, Callable[[], Model]] = {**ZOO, **UNTIDY, **LAYERS, **RANGES, **STORABLE, **FUSED}
OPTIONS: dict[str, dict[str, Any]] = {
    "strip-text": {"strip": ("docs", "metadata")},
    "nested": {"epochs": 0},
    "tune": {"epochs": 3},
}
"""Options of passes that do nothing unless they are told to, or work for long."""
LEAST = 3
"""Graphs that every pass changes at least."""

_ALSO = {
    "scalarize-range": RANGES,
    "canonicalize": {**RANGES, **FUSED},
    "split-fused": FUSED,
    "quant-dynamic": ("products", "wide", "turned"),
    "quant-weights": ("products", "wide", "turned"),
    "pack-weights": STORABLE,
    "prune-heads": ("four_heads", "fused_heads"),
    "prune-layers": ("repeated_block", "four_heads"),
}
"""Graphs beside the zoo of odd models; none that cannot interest a slow pass."""


def graphs_for(name: str) -> list[str]:
    """Return the graphs that a pass runs over: all odd ones, and those with something to do."""
    found = [*ZOO, *_ALSO.get(name, ())]
    if find(name).numerics is not Numerics.LOSSY:
        found += LAYERS if name.startswith(("merge-", "swap-")) else ()
        found += UNTIDY
    return found


def pass_of(name: str) -> Pass:
    """Return a pass with options with which it does something."""
    return find(name).from_options(OPTIONS.get(name, {}))


@cache
def ran(name: str, graph: str) -> Run:
    """Return what a pass makes of a graph; run once."""
    return run_pass(pass_of(name), GRAPHS[graph])


def original_of(graph: str, before: Model) -> Model:
    """Return the model that says what the outputs are: a twin where `before` does not load."""
    return TWINS[graph]() if graph in TWINS else before


MISSING = pytest.mark.skip(reason="a package that the pass needs is not installed")


def cases(names: Iterable[str]) -> list[Any]:
    """Return a pair of pass and graph for every pass and every graph of it."""
    return [
        pytest.param(p, g, marks=() if p in RUNNABLE else MISSING)
        for p in names
        for g in graphs_for(p)
    ]


CASES = cases(PASSES)
