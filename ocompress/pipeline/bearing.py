"""What passes do to others by being in a pipeline."""

from __future__ import annotations

from collections.abc import Sequence

from ocompress.pipeline.aside import sets_aside
from ocompress.pipeline.base import Pass


def bearing(passes: Sequence[Pass]) -> tuple[bool, bool]:
    """Return what others are made by that passes are there, even if these change nothing.

    Args:
        passes: All of a pipeline, in order.

    Returns:
        Whether samples are put aside, and whether passes that mind it come before integers.
    """
    minding = next((at for at, item in enumerate(passes) if item.minds_integers), len(passes))
    return sets_aside(passes), any(item.makes_integers for item in passes[minding:])
