"""Trials of earlier searches, so that the same job is done in the time of its last step."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ocompress.errors import OutputError
from ocompress.io import atomic_write

_FORMAT = 1
"""Changes when figures of the same name become others."""
_MOST, _KEPT = 20_000, 15_000
"""Files that a folder holds before the oldest go, and how many stay then."""


@dataclass(frozen=True)
class Ledger:
    """Figures by what they depend on, each in a file of its own; several processes may share one.

    Attributes:
        folder: Where the files are; None remembers nothing.
        job: What all trials have in common: model, data, target, seed, metric, machine.
    """

    folder: Path | None
    job: str = ""

    def get(self, passes: str) -> Mapping[str, Any] | None:
        """Return the figures of a pipeline, None if they are not known."""
        if self.folder is None:
            return None
        try:
            found = json.loads(self._file(passes).read_text(encoding="utf-8"))
        except (OSError, ValueError):  # not there, or damaged
            return None
        return found if isinstance(found, dict) else None

    def put(self, passes: str, figures: Mapping[str, Any]) -> None:
        """Keep figures; a full disk costs the next search time, not this one its result."""
        if self.folder is None:
            return
        with contextlib.suppress(OutputError, OSError):
            self.folder.mkdir(parents=True, exist_ok=True)
            atomic_write(self._file(passes), json.dumps(dict(figures)))

    def trim(self) -> None:
        """Remove the oldest files of a folder that holds too many."""
        if self.folder is None or not self.folder.is_dir():
            return
        files = list(self.folder.glob("*.json"))
        if len(files) <= _MOST:
            return
        with contextlib.suppress(OSError):  # another process trims as well
            files.sort(key=lambda file: file.stat().st_mtime)
        for file in files[:-_KEPT]:
            with contextlib.suppress(OSError):
                file.unlink()

    def _file(self, passes: str) -> Path:
        assert self.folder is not None
        key = repr((_FORMAT, self.job, passes))
        return self.folder / f"{hashlib.sha256(key.encode()).hexdigest()}.json"
