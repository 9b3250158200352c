"""Convolutions by groups of channels."""

from __future__ import annotations

from collections.abc import Sequence

from ocompress.errors import OptionError
from ocompress.ir import Model
from ocompress.pipeline import option
from passes.factorization.forms import Form
from passes.factorization.group_forms import METHODS, named
from passes.factorization.replacing import Replace


class Group(Replace):
    """Write convolutions as ones by groups of channels, pointwise ones with a shuffle between.

    Before: y = Conv(x, W, b), W of 128 x 128 x 1 x 1
    After:  y = Conv(Shuffle(Conv(x, P, group=4)), Q, b, group=4), P of 64 x 32 x 1 x 1
    After:  y = Gather(Conv(Gather(x, i), P, c, group=4), j), P of 128 x 32 x 1 x 1
    Leaves alone: what is no Conv (op-type), named by 'exclude' or by no pattern of 'layers'
    (excluded, not-named), depthwise (depthwise), of fewer than 256 weights (too-small), with more
    than 4608 inputs to an output (too-wide), computed, shared, quantized or in a body of control
    flow (dynamic-weight, shared-weight, already-quantized, in-body), where shapes are not known
    (unknown-shape, auto-pad); where channels divide into no groups or nothing is saved without
    losing half (no-form), nothing is measured faster (not-timed, not-faster), other layers save
    more for less (not-chosen), or no choice keeps to a limit (too-lossy, too-slow).
    Numerics: lossy.
    Reference: Dao et al., Monarch: Expressive Structured Matrices for Efficient and Accurate
    Training, 2022; Zhang et al., ShuffleNet, 2018.
    """

    name = "group"
    operators = ("Conv",)

    methods: tuple[str, ...] = option(
        METHODS,
        help="Forms that are tried: two groupwise layers with a shuffle between, for kernels of a "
        "single tap; one with channels put in order for the groups, for any.",
        choices=METHODS,
    )
    groups: tuple[int, ...] = option((2, 4, 8), help="Numbers of groups that are tried.")

    def forms(self) -> Sequence[Form]:
        """Return the forms that are tried."""
        return named(self.methods, self.groups)

    def _check(self, model: Model) -> None:
        super()._check(model)
        wrong = [g for g in self.groups if g < 2]
        if wrong or not self.groups:
            msg = f"group: groups={self.groups!r} must be numbers of 2 or more"
            raise OptionError(msg)
