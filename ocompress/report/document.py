"""The frame that every JSON report shares."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ocompress import __version__
from ocompress.diagnostics import plain
from ocompress.ir.strings import is_clean

SCHEMA = 2
"""Grows when an entry changes its meaning or goes away; new entries do not count.

1 called itself `schema_version`.
"""


def document(command: str, settings: Mapping[str, Any], body: Mapping[str, Any]) -> dict[str, Any]:
    """Return a report: who wrote it, what was asked, and what came of it."""
    return {
        "schema": SCHEMA,
        "tool": {"name": "ocompress", "version": __version__},
        "command": command,
        "settings": dict(settings),
        **body,
    }


def to_text(report: Mapping[str, Any]) -> str:
    """Return JSON text, entries in the order in which they were put in.

    Numbers that are not finite are null, in what passes of others tell as well.
    """
    report = plain(report)
    text = json.dumps(report, indent=2, ensure_ascii=False, allow_nan=False)
    if not is_clean(text):  # names that are no UTF-8 have to be escaped
        text = json.dumps(report, indent=2, allow_nan=False)
    return f"{text}\n"
