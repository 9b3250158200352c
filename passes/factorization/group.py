"""Convolutions by groups of channels."""

from __future__ import annotations

from collections.abc import Sequence

from ocompress.errors import OptionError
from ocompress.ir import Model
from ocompress.pipeline import option
from passes.factorization.forms import ChainForm
from passes.factorization.group_forms import METHODS, named
from passes.factorization.replacing import Replace


class GroupConvolutions(Replace):
    """Replace convolutions by grouped ones, fitted to data.

    Before: y = Conv(x, W, b), W of 128 x 128 x 1 x 1
    After:  y = Conv(Shuffle(Conv(x, P, group=4)), Q, b, group=4), P of 64 x 32 x 1 x 1, Q of
            128 x 16 x 1 x 1 (shuffle)
            y = Gather(Conv(Gather(x, i), P, c, group=4), j), P of 128 x 32 x 1 x 1 (blocks)

    Two forms, each with several numbers of groups. `shuffle`, for kernels of a single tap: two
    grouped layers with Reshape, Transpose, Reshape between them compute the first singular pairs
    of every block of inputs and outputs; all pairs are exact. `blocks`, for any kernel: one grouped
    layer. A search finds which inputs and outputs go together so that what is dropped costs least,
    and the remaining weights are solved for. The channel orders that this takes are Gathers, which
    layers before or after absorb into their weights where they can. Whole blocks that training did
    not empty carry much, so without training `blocks` pays for little. Choice, fit and proof are
    those of `factorize`: what exceeds the budget or does not measure faster is not kept.

    Leaves alone: other operators than Conv (op-type, recurrent); names that match `exclude` or no
    pattern of `layers` (excluded, not-named), small and depthwise weights (too-small, depthwise),
    layers whose channels do not divide or none of whose forms has fewer weights and less to
    multiply (no-form), layers that no budget pays for or whose forms do not measure faster
    (not-chosen, not-faster), those that have no chain that `chains` names (not-offered), everything
    if no choice holds a limit (too-lossy, too-slow, not-reached); factors that the type of the
    weight cannot hold (not-held), layers with too many inputs for pairs (too-wide) or that cannot
    be timed alone (not-timed), weights that are computed, shared in different ways, quantized or
    not finite (dynamic-weight, shared-weight, already-quantized, computed-weight, non-finite,
    odd-weight), shapes and pads that are not known (unknown-shape, auto-pad), and bodies of control
    flow (in-body); models older than opset 11 (old-opset).
    Numerics: lossy.
    Reference: Dao et al., Monarch: Expressive Structured Matrices for Efficient and Accurate
    Training, 2022; Zhang et al., ShuffleNet, 2018; Dhillon, Co-clustering Documents and Words Using
    Bipartite Spectral Graph Partitioning, 2001.
    """

    name = "group"
    operators = ("Conv",)

    methods: tuple[str, ...] = option(
        METHODS,
        help="Forms to try: two grouped layers with a shuffle between (for kernels of a single "
        "tap), or one with its channels reordered for the groups (for any kernel).",
        choices=METHODS,
    )
    groups: tuple[int, ...] = option((2, 4, 8), help="Numbers of groups to try.")

    def forms(self) -> Sequence[ChainForm]:
        """Return the forms that are tried."""
        return named(self.methods, self.groups)

    def _check(self, model: Model) -> None:
        super()._check(model)
        wrong = [g for g in self.groups if g < 2]
        if wrong or not self.groups:
            msg = f"group: groups={self.groups!r} must be numbers of 2 or more"
            raise OptionError(msg)
