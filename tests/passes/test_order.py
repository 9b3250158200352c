"""The order of passes: what would undo another pass, or find nothing left, is refused."""

from __future__ import annotations

import itertools

import pytest

from ocompress.errors import OptionError
from ocompress.pipeline import Pipeline, all_passes

VISIBLE = [cls.name for cls in all_passes() if cls.__module__.startswith("passes.")
           and not cls.internal and cls.name != "canonicalize"]  # fmt: skip
REPLACEMENTS = ("factorize", "separable", "group", "squeeze", "split")
REMOVALS = ("prune-channels", "prune-heads", "prune-layers")
FIRST = {
    "quant": {"merge-layers", *REPLACEMENTS, *REMOVALS, "prune", "equalize"},
    "equalize": {"merge-layers", *REPLACEMENTS},
    "entropy": {"merge-layers", *REPLACEMENTS, *REMOVALS, "prune", "equalize"},
    "cluster": {"merge-layers", *REPLACEMENTS, *REMOVALS, "prune", "equalize"},
    "codebook": {"merge-layers", *REPLACEMENTS, *REMOVALS, "prune", "equalize"},
    "prune": {"merge-layers", *REPLACEMENTS},
    **{name: {"merge-layers"} for name in REPLACEMENTS},
}
PROJECTIONS = ("binarize", "circulant", "fastfood", "hash", "random-code")
FIRST |= dict.fromkeys(PROJECTIONS, FIRST["entropy"])
FIRST["quant-dynamic"] = {*FIRST["quant"], "quant"}
FIRST["quant-weights"] = {*FIRST["quant"], "quant", "quant-dynamic"}
SHARING = ("entropy", "cluster", "codebook", *PROJECTIONS)
FIRST["nested"] = {"merge-layers", "tune"}
FIRST["pack-weights"] = {*FIRST["quant-weights"], "quant-weights", *SHARING, "tune"}
"""Which passes must not come later than each."""


@pytest.mark.parametrize(("one", "two"), [*itertools.permutations(VISIBLE, 2)])
def test_every_pair(one: str, two: str) -> None:
    if two not in FIRST.get(one, ()):
        assert [p.name for p in Pipeline.parse(f"{one},{two}").passes[1:]] == [one, two]
        return
    with pytest.raises(OptionError, match=f"'{two}' must come before '{one}'") as caught:
        Pipeline.parse(f"{one},{two}")
    assert f"say '{two},{one}'" in str(caught.value)


def test_a_better_order_keeps_options_and_what_may_stay() -> None:
    with pytest.raises(OptionError) as caught:
        Pipeline.parse("quant,prune-channels,prune{sparsity=0.6},factorize,merge-layers")
    better = "prune-channels,merge-layers,factorize,prune{sparsity=0.6},quant"
    assert f"say '{better}'" in str(caught.value)
    assert Pipeline.parse(better)
