"""Convolutions as a squeeze and two expansions."""

from __future__ import annotations

from collections.abc import Sequence

from passes.factorization.forms import Form
from passes.factorization.replacing import Replace
from passes.factorization.squeeze_forms import FIRE


class Squeeze(Replace):
    """Write convolutions as a squeeze to few channels and branches of 1 x 1 and k x k behind it.

    Before: y = Conv(x, W, b), W of 128 x 128 x 3 x 3
    After:  s = Conv(x, S), S of 48 x 128 x 1 x 1;
            y = Gather(Concat(Conv(s, P, c), Conv(s, Q, d)), i), P of 64 x 48 x 1 x 1,
            Q of 64 x 48 x 3 x 3
    Leaves alone: what is no Conv (op-type), named by 'exclude' or by no pattern of 'layers'
    (excluded, not-named), depthwise (depthwise), of fewer than 256 weights (too-small), with more
    than 4608 inputs to an output (too-wide), computed, shared, quantized or in a body of control
    flow (dynamic-weight, shared-weight, already-quantized, in-body), where shapes are not known
    (unknown-shape, auto-pad); where the kernel has a single tap or nothing is saved without losing
    half (no-form), nothing is measured faster (not-timed, not-faster), other layers save more for
    less (not-chosen), or no choice keeps to a limit (too-lossy, too-slow).
    Numerics: lossy.
    Reference: Iandola et al., SqueezeNet, 2016.
    """

    name = "squeeze"
    operators = ("Conv",)

    def forms(self) -> Sequence[Form]:
        """Return the forms that are tried."""
        return [FIRE]
