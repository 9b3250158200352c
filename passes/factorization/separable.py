"""Convolutions as depthwise and pointwise ones."""

from __future__ import annotations

from collections.abc import Sequence

from ocompress.pipeline import option
from passes.factorization.catalogue import METHODS, named
from passes.factorization.forms import Form
from passes.factorization.replacing import Replace


class Separable(Replace):
    """Write convolutions as depthwise and pointwise ones.

    Before: y = Conv(x, W, b), W of 128 x 128 x 3 x 3
    After:  y = Conv(Conv(x, D, group=128), P, b), D of 256 x 1 x 3 x 3, P of 128 x 256 x 1 x 1

    Leaves alone: TODO
    Numerics: lossy.
    """

    name = "separable"

    methods: tuple[str, ...] = option(METHODS[6:], help="Forms that are tried.", choices=METHODS)

    def forms(self) -> Sequence[Form]:
        """Return the forms that are tried."""
        return named(self.methods)
