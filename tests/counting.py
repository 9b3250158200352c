"""Counting what is done while something runs, to see how it grows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from ocompress.ir import Graph, Node
from ocompress.runtime import Session


@contextmanager
def counting(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[str]]:
    """Count `sessions` that are loaded, and `nodes` that are gone through."""
    counts: Counter[str] = Counter()
    load, nodes = Session.__init__, vars(Graph)["nodes"]

    def loaded(self: Session, *args: Any, **kwargs: Any) -> None:
        counts["sessions"] += 1
        load(self, *args, **kwargs)

    def listed(self: Graph) -> list[Node]:
        counts["nodes"] += len(self)
        found: list[Node] = nodes.__get__(self)
        return found

    with monkeypatch.context() as patch:
        patch.setattr(Session, "__init__", loaded)
        patch.setattr(Graph, "nodes", property(listed))
        yield counts


def grows(few: Counter[str], many: Counter[str], times: float) -> None:
    """Assert that nothing was counted much more often than so many times."""
    assert few.keys() == many.keys() == {"sessions", "nodes"}
    for what, count in many.items():
        assert count <= 1.1 * times * few[what], what
