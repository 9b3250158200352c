"""Layers as products of low rank, in closed form."""

from __future__ import annotations

from collections.abc import Sequence

from ocompress.pipeline import option
from passes.factorization.catalogue import METHODS, named
from passes.factorization.forms import Form
from passes.factorization.replacing import Replace


class Factorize(Replace):
    """Write layers as chains of thinner ones of low rank.

    Before: y = Conv(x, W, b), W of 128 x 128 x 3 x 3
    After:  y = Conv(Conv(x, P), Q, b), P of 48 x 128 x 3 x 1, Q of 128 x 48 x 1 x 3

    Leaves alone: TODO
    Numerics: lossy.
    """

    name = "factorize"

    methods: tuple[str, ...] = option(METHODS[:6], help="Forms that are tried.", choices=METHODS)

    def forms(self) -> Sequence[Form]:
        """Return the forms that are tried."""
        return named(self.methods)
