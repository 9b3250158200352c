"""The family that runs first in every pipeline."""

from __future__ import annotations

from ocompress.pipeline import Family, Numerics


class Canonicalize(Family):
    """Bring a model into the one form that the other passes expect.

    Runs its members, each exact or rounding-only, until none of them changes anything.
    Numerics: rounding only.
    """

    name = "canonicalize"
    numerics = Numerics.ROUNDING
    members = ("remove-dead-code",)
