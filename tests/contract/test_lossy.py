"""What passes with a loss must not lose: anything where nothing is asked, or where it is free."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest

from ocompress.ir import text
from ocompress.pipeline import Numerics, all_passes, find
from passes.storage.forms import smallest
from tests.contract.enrolled import GRAPHS, MISSING, RUNNABLE, ran
from tests.contract.free import FREE
from tests.contract.harness import Run, outputs, run_pass

LOSSY = {cls.name for cls in all_passes() if cls.numerics is Numerics.LOSSY}
_NO_ERROR = {"max_error": 1e-12}

# Settings under which nothing may be lost, and graphs that the pass changes under its defaults.
IDENTITY: dict[str, tuple[tuple[str, ...], list[dict[str, Any]]]] = {
    "equalize": (("mlp", "depthwise_residual"), [{"alpha": 0.0}, {"alpha": 1.0}]),
    "cluster": (("mlp", "conv_transpose"), [{"exclude": ("*",)}, {"smallest": 2**40}]),
    "binarize": (("mlp", "conv_transpose"), [{"exclude": ("*",)}, {"smallest": 2**40}]),
    "circulant": (("mlp",), [{"exclude": ("*",)}, {"smallest": 2**40}]),
    "fastfood": (("mlp", "conv_transpose"), [{"exclude": ("*",)}, {"smallest": 2**40}]),
    "hash": (("mlp", "conv_transpose"), [{"exclude": ("*",)}, {"smallest": 2**40}]),
    "random-code": (("mlp",), [{"exclude": ("*",)}, {"smallest": 2**40}]),
    "codebook": (("mlp", "conv_transpose"), [{"exclude": ("*",)}, {"smallest": 2**40}]),
    "entropy": (("mlp", "conv_transpose"), [{"exclude": ("*",)}, {"smallest": 2**40}]),
    "factorize": (("mlp", "products"), [{"rank": 10**6}, _NO_ERROR, {"max_macs": 1.0}]),
    "group": (("concat_split_pool",), [_NO_ERROR, {"max_macs": 1.0}]),
    "separable": (("bn_spelled_out",), [_NO_ERROR, {"max_macs": 1.0}]),
    "split": (("mlp",), [{"exclude": ("*",)}, {"max_macs": 1.0}]),
    "nested": (("mlp",), [{"epochs": 0, "exclude": ("*",)}]),
    "squeeze": (("bn_spelled_out",), [_NO_ERROR, {"max_macs": 1.0}]),
    "prune": (("mlp", "conv_transpose"), [{"sparsity": 0.0}]),
    "prune-channels": (("mlp", "shared_weights"), [{"ratio": 1e-9}, {"max_macs": 1.0}]),
    "prune-heads": (("four_heads",), [{"ratio": 1e-9}, {"max_macs": 1.0}]),
    "prune-layers": (("depthwise_residual",), [{"exclude": ("*",)}]),
    "quant": (("mlp", "concat_split_pool"), [{"exclude": ("*",)}]),
    "quant-dynamic": (("wide",), [{"smallest": 2**40}, {"exclude": ("*",)}]),
    "quant-weights": (("products",), [{"smallest": 2**40}, {"exclude": ("*",)}]),
    "tune": (("mlp", "conv_bn_relu"), [{"epochs": 0}, {"exclude": ("*",)}, {"lr": 0.0}]),
}
FEW_VALUES = {"binarize", "circulant", "cluster", "codebook", "fastfood", "hash", "random-code"}
"""Passes whose weights take less only once they are packed."""
CHANGES_WEIGHTS = {"equalize"}
"""Passes that lose nothing themselves: they rewrite weights without a change of the outputs."""
IDENTITIES = [
    pytest.param(
        name,
        graph,
        given,
        id=f"{name}-{graph}-{next(iter(given))}",
        marks=() if name in RUNNABLE else MISSING,
    )
    for name, (graphs, settings) in IDENTITY.items()
    for graph in graphs
    for given in settings
]

FREE_CUTS = [
    pytest.param(name, at, id=f"{name}-{getattr(build, '__name__', 'attention')}")
    for name, cuts in FREE.items()
    for at, (build, _) in enumerate(cuts)
]
NEVER_FREE = {"nested", "quant", "quant-dynamic", "tune"}
"""Activations lose by the grid whatever the weights are; training takes nothing away, and other
budgets come on top."""
RIDGE = {
    ("prune-channels", "twin_channels"): 1e-3,
    ("entropy", "next_to_nothing"): 1e-3,
    ("fastfood", "nearly_fastfood"): 5e-3,
    ("random-code", "nearly_random_words"): 5e-3,
}
"""How near a fit comes that is damped, rounding to 16 bits or 8, a search that may end early."""


def error(run: Run) -> float:
    """Return the largest error of any output, relative to its largest value."""
    expected, got = outputs(run.before), outputs(run.after)
    return max(
        float(np.abs(got[name] - want).max() / np.abs(want).max())
        for name, want in expected.items()
    )


def test_every_lossy_pass_is_held_to_it() -> None:
    assert IDENTITY.keys() == LOSSY
    assert FREE.keys() == LOSSY - NEVER_FREE


@pytest.mark.parametrize(("name", "graph", "given"), IDENTITIES)
def test_settings_that_ask_for_nothing_lose_nothing(
    name: str, graph: str, given: dict[str, Any]
) -> None:
    run = run_pass(find(name)(**given), GRAPHS[graph])
    if name in CHANGES_WEIGHTS:
        assert error(run) < 1e-5
        return
    assert not run.outcome
    assert text(run.after) == text(run.before)


@pytest.mark.parametrize(
    ("name", "graph"),
    [(n, g) for n, (gs, _) in IDENTITY.items() if n in RUNNABLE for g in gs],
)
def test_defaults_would_have_changed_the_same_graph(name: str, graph: str) -> None:
    assert ran(name, graph).outcome


@cache
def _cut(name: str, at: int) -> tuple[Run, str]:
    build, given = FREE[name][at]
    return run_pass(find(name)(**given), build, batch=64), getattr(build, "__name__", "")


@pytest.mark.parametrize(("name", "at"), FREE_CUTS)
def test_what_is_free_costs_nothing(name: str, at: int) -> None:
    run, net = _cut(name, at)
    assert run.outcome, f"{name} leaves {net} as it is"
    assert error(run) <= RIDGE.get((name, net), 2e-6)


@pytest.mark.parametrize(("name", "at"), FREE_CUTS)
def test_what_is_free_is_really_gone(name: str, at: int) -> None:
    run, _ = _cut(name, at)
    if name == "prune":
        assert run.outcome.counts["zeros made"] > 100
    elif name == "entropy":
        zeros = [sum((w == 0).sum() for w in m.weights()) for m in (run.before, run.after)]
        assert zeros[1] > zeros[0] + 100
    elif name in FEW_VALUES:
        sizes = [sum(smallest(w).nbytes for w in m.weights()) for m in (run.before, run.after)]
        assert sizes[1] < 0.7 * sizes[0]
    elif name not in CHANGES_WEIGHTS:
        assert run.after.weight_bytes < run.before.weight_bytes
