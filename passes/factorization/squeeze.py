"""Convolutions as a squeeze and two expansions."""

from __future__ import annotations

from collections.abc import Sequence

from ocompress.ir import Model
from ocompress.lossy.engine import Plan
from ocompress.lossy.refit import Built
from ocompress.pipeline import Context, option
from passes.factorization.building import ChainEdit
from passes.factorization.forms import ChainForm
from passes.factorization.rectifying import rectify
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
    and expansions, so all channels with all outputs whole are exact; with `relu` there is one, and
    channels are lifted before it and lowered after it by what they were seen to go below zero, so
    that nothing changes before training. Later layers absorb the Gather
    that restores the order of outputs where they can; with all outputs whole there is one expansion
    and no Gather. Choice, fit and proof are those of `factorize`, whose form `input` is this one
    with all outputs whole.

    Leaves alone: other operators than Conv (op-type, recurrent); names that match `exclude` or no
    pattern of `layers` (excluded, not-named), small and depthwise weights (too-small, depthwise),
    kernels of a single tap and layers where nothing has fewer weights and less to multiply
    (no-form), layers that no budget pays for or whose forms do not measure faster (not-chosen,
    not-faster), those that have no chain that `chains` names (not-offered), everything if no choice
    holds a limit (too-lossy, too-slow, not-reached); factors that the type of the weight cannot
    hold (not-held), layers with too many inputs for pairs (too-wide) or that cannot be timed alone
    (not-timed), weights that are computed, shared in different ways, quantized or not finite
    (dynamic-weight, shared-weight, already-quantized, computed-weight, non-finite, odd-weight),
    shapes and pads that are not known (unknown-shape, auto-pad), and bodies of control flow
    (in-body). A model older than opset 11 (old-opset).
    Numerics: lossy.
    Reference: Iandola et al., SqueezeNet: AlexNet-Level Accuracy with 50x Fewer Parameters, 2016;
    Zhang et al., Accelerating Very Deep Convolutional Networks, 2015.
    """

    name = "squeeze"
    operators = ("Conv",)

    relu: bool = option(
        False,
        help="Put a Relu between squeeze and expansions, as SqueezeNet does, for `tune` to make "
        "use of.",
    )

    def forms(self) -> Sequence[ChainForm]:
        """Return the forms that are tried."""
        return [FIRE]

    def build(self, model: Model, plan: Plan, ctx: Context, *, fit: bool) -> Built:
        """Return the model with layers replaced, and a Relu in each of them if one is wanted."""
        built = super().build(model, plan, ctx, fit=fit)
        if self.relu:
            chains = [plan[part].edit for part in built.done]
            labels = [label for c in chains if isinstance(c, ChainEdit) for label in c.labels]
            rectify(built.model, labels, ctx.data if fit and self._seen(ctx) else None)
        return built
