"""What passes proposed for a model, for the next pipeline that gives them the same model."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any

_MOST = 12
"""Proposals that are kept; each holds a model, and what was found out about it."""


@dataclass
class ProposalMemo:
    """Proposals by what they depend on; the one that was not used for longest makes room."""

    _known: OrderedDict[Hashable, Any] = field(default_factory=OrderedDict)

    def get(self, key: Hashable) -> Any:
        """Return what is known; None if nothing is."""
        if key in self._known:
            self._known.move_to_end(key)
        return self._known.get(key)

    def put(self, key: Hashable, found: object) -> None:
        """Keep something."""
        self._known[key] = found
        while len(self._known) > _MOST:
            self._known.popitem(last=False)
