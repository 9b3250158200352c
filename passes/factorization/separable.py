"""Convolutions as depthwise and pointwise ones."""

from __future__ import annotations

from collections.abc import Sequence

from ocompress.pipeline import option
from passes.factorization.catalogue import METHODS, named
from passes.factorization.forms import ChainForm
from passes.factorization.replacing import Replace


class Separable(Replace):
    """Replace convolutions by depthwise and pointwise ones, fitted to data.

    Before: y = Conv(x, W, b), W of 128 x 128 x 3 x 3
    After:  y = Conv(Conv(x, D, group=128), P, b), D of 256 x 1 x 3 x 3, P of 128 x 256 x 1 x 1

    Network decoupling. `depthwise-first`: the taps of each input channel times all outputs are a
    matrix, whose first T singular pairs are T depthwise filters per channel and a pointwise
    convolution after them. `pointwise-first`: the same for the taps of each output times all
    input channels, with T maps per output and their filters. As many terms as taps are exact. Terms
    are whitened by the statistics of patches and fitted by alternating least squares. Choice, fit
    and proof are those of `factorize`, which takes these forms too if its `methods` name them.

    Leaves alone: names that match `exclude` or no pattern of `layers` (excluded, not-named), small
    and depthwise weights (too-small, depthwise), layers none of whose forms has fewer weights and
    less to multiply (no-form), layers that no budget pays for or whose forms do not measure faster
    (not-chosen, not-faster), those that have no chain that `chains` names (not-offered), everything
    if no choice holds a limit (too-lossy, too-slow, not-reached), layers with too many inputs for
    pairs (too-wide) or that cannot be timed alone (not-timed), weights that are computed, stacked,
    shared in different ways, quantized or not finite, or whose type cannot hold the factors
    (not-held, dynamic-weight, batched-weight, shared-weight, already-quantized, computed-weight,
    non-finite, odd-weight, vector), shapes, ranks and pads that are not known (unknown-shape,
    unknown-rank, auto-pad), recurrent operators (recurrent), and bodies of control flow (in-body);
    models older than opset 11 (old-opset).
    Numerics: lossy.
    Reference: Guo et al., Network Decoupling: From Regular to Depthwise Separable Convolutions,
    2018.
    """

    name = "separable"

    methods: tuple[str, ...] = option(METHODS[6:], help="Forms to try.", choices=METHODS)

    def forms(self) -> Sequence[ChainForm]:
        """Return the forms that are tried."""
        return named(self.methods)
