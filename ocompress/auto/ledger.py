"""Trials of earlier searches, so that the same job is done in the time of its last step."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ocompress.io import CacheFiles

_FORMAT = 3
"""Changes when figures of the same name become others."""


@dataclass(frozen=True)
class Ledger:
    """Figures of pipelines by what they depend on.

    Attributes:
        files: Where they are kept; None remembers nothing.
        job: What all trials have in common: model, data, target, seed, metric, machine.
    """

    files: CacheFiles | None
    job: str = ""

    def get(self, passes: str) -> Mapping[str, Any] | None:
        """Return the figures of a pipeline, None if they are not known."""
        content = None if self.files is None else self.files.read(self._key(passes))
        try:
            found = json.loads(content or b"")
        except ValueError:  # not there, or damaged
            return None
        return found if isinstance(found, dict) else None

    def put(self, passes: str, figures: Mapping[str, Any]) -> None:
        """Keep figures; a full disk costs the next search time, not this one its result."""
        if self.files is not None:
            self.files.write(self._key(passes), json.dumps(dict(figures)).encode())

    def _key(self, passes: str) -> tuple[int, str, str]:
        return _FORMAT, self.job, passes
