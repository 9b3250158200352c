"""Convolutions as a squeeze and two expansions."""

from __future__ import annotations

from collections.abc import Sequence

from passes.factorization.forms import ChainForm
from passes.factorization.replacing import Replace
from passes.factorization.squeeze_forms import FIRE


class Squeeze(Replace):
    """Replace convolutions by a squeeze to few channels and two expansions, fitted to data.

    Before: y = Conv(x, W, b), W of 128 x 128 x 3 x 3
    After:  s = Conv(x, S), S of 48 x 128 x 1 x 1
            y = Gather(Concat(Conv(s, P, c), Conv(s, Q, d)), i), P of 64 x 48 x 1 x 1, Q of
            64 x 48 x 3 x 3

    The fire module of SqueezeNet in closed form. The squeeze starts from the principal components
    of the input channels, whitened by the statistics of patches. Outputs that lose least without
    the rest of the kernel keep only its centre, as a 1 x 1 convolution. Both expansions are solved
    for, and alternating least squares fits all three layers. There is no activation between squeeze
    and expansions, so all channels with all outputs whole are exact. Later layers absorb the Gather
    that restores the order of outputs where they can; with all outputs whole there is one expansion
    and no Gather. Choice, fit and proof are those of `factorize`, whose form `input` is this one
    with all outputs whole.

    Leaves alone: other operators than Conv (op-type, recurrent); names that match `exclude` or no
    pattern of `layers` (excluded, not-named), small and depthwise weights (too-small, depthwise),
    kernels of a single tap and layers where nothing has fewer weights and less to multiply
    (no-form), layers that no budget pays for or whose forms do not measure faster (not-chosen,
    not-faster), everything if no choice holds a limit (too-lossy, too-slow, not-reached); factors
    that the type of the weight cannot hold (not-held), layers with too many inputs for pairs
    (too-wide) or that cannot be timed alone (not-timed), weights that are computed, shared in
    different ways, quantized or not finite (dynamic-weight, shared-weight, already-quantized,
    non-finite, odd-weight), shapes and pads that are not known (unknown-shape, auto-pad), and
    bodies of control flow (in-body). A model older than opset 11 (old-opset).
    Numerics: lossy.
    Reference: Iandola et al., SqueezeNet: AlexNet-Level Accuracy with 50x Fewer Parameters, 2016;
    Zhang et al., Accelerating Very Deep Convolutional Networks, 2015.
    """

    name = "squeeze"
    operators = ("Conv",)

    def forms(self) -> Sequence[ChainForm]:
        """Return the forms that are tried."""
        return [FIRE]
