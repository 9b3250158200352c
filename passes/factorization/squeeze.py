"""Convolutions as a squeeze and two expansions."""

from __future__ import annotations

from collections.abc import Sequence

from passes.factorization.forms import Form
from passes.factorization.replacing import Replace
from passes.factorization.squeeze_forms import FIRE


class Squeeze(Replace):
    """Write convolutions as a squeeze to few channels and two expansions of it, fitted to data.

    Before: y = Conv(x, W, b), W of 128 x 128 x 3 x 3
    After:  s = Conv(x, S), S of 48 x 128 x 1 x 1
            y = Gather(Concat(Conv(s, P, c), Conv(s, Q, d)), i), P of 64 x 48 x 1 x 1, Q of
            64 x 48 x 3 x 3

    The fire module of SqueezeNet in closed form: the squeeze starts from the input channels'
    principal components, whitened by what patches look like; those outputs that lose least without
    the rest of the kernel are left its centre alone, as a 1 x 1 convolution; both expansions are
    solved for, and all three fitted by alternating least squares. Nothing stands between squeeze
    and expansions, so that all channels and all outputs whole are exact. The Gather that keeps
    outputs in order goes where the layers behind can take it into their weights; with all outputs
    whole there is one expansion and none. Choice, fit and proof are those of `factorize`, whose
    form `input` is this one with all outputs whole.

    Leaves alone: what is no Conv (op-type, recurrent); names that match `exclude` or no pattern of
    `layers` (excluded, not-named), small and depthwise weights (too-small, depthwise), kernels of a
    single tap and layers where nothing has fewer weights and less to multiply (no-form), those that
    no budget paid for or whose forms are not measured faster (not-chosen, not-faster), everything
    if no choice holds a limit (too-lossy, too-slow, not-reached); factors that the type of the
    weight cannot hold (not-held), layers with more inputs than pairs can be looked at (too-wide) or
    that cannot be timed alone (not-timed), weights that are computed, shared in different ways,
    quantized or not finite (dynamic-weight, shared-weight, already-quantized, non-finite,
    odd-weight), shapes and pads that are not known (unknown-shape, auto-pad), and bodies of control
    flow (in-body). A model older than opset 11 (old-opset).
    Numerics: lossy.
    Reference: Iandola et al., SqueezeNet: AlexNet-Level Accuracy with 50x Fewer Parameters, 2016;
    Zhang et al., Accelerating Very Deep Convolutional Networks, 2015.
    """

    name = "squeeze"
    operators = ("Conv",)

    def forms(self) -> Sequence[Form]:
        """Return the forms that are tried."""
        return [FIRE]
