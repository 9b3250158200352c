"""Layers as products of low rank, in closed form."""

from __future__ import annotations

from collections.abc import Sequence

from ocompress.pipeline import option
from passes.factorization.forms import FACTORS, Form
from passes.factorization.replacing import Replace

METHODS = ("channel", "input", "spatial", "tucker", "cp")


class Factorize(Replace):
    """Write layers as chains of thinner ones of low rank.

    Before: y = Conv(x, W, b), W of 128 x 128 x 3 x 3
    After:  y = Conv(Conv(x, P), Q, b), P of 48 x 128 x 3 x 1, Q of 128 x 48 x 1 x 3

    Leaves alone: TODO
    Numerics: lossy.
    """

    name = "factorize"

    methods: tuple[str, ...] = option(METHODS, help="Forms that are tried.", choices=METHODS)

    def forms(self) -> Sequence[Form]:
        """Return the forms that are tried."""
        return [f for f in FACTORS if f.name.partition("-")[0] in self.methods]
