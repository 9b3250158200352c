"""Layers as products of low rank, in closed form."""

from __future__ import annotations

from collections.abc import Sequence

from ocompress.ir import Model
from ocompress.pipeline import Context, Outcome, option
from passes.factorization.catalogue import METHODS, named
from passes.factorization.forms import ChainForm
from passes.factorization.replacing import Replace
from passes.factorization.tables import replace_tables


class Factorize(Replace):
    """Replace layers by chains of thinner ones of low rank, fitted to data.

    Before: y = Conv(x, W, b), W of 128 x 128 x 3 x 3
    After:  y = Conv(Conv(x, P), Q, b), P of 48 x 128 x 3 x 1, Q of 128 x 48 x 1 x 3

    The forms are `channel` (the layer with fewer outputs, then 1 x 1; for Gemm, MatMul and 1 x 1
    this is the singular value decomposition), `input` (1 x 1, then the layer with fewer inputs),
    `spatial` (along one axis, then along the other), `tucker` (1 x 1, a smaller kernel, 1 x 1),
    `cp` (1 x 1, depthwise, 1 x 1) and, for a matrix after a Flatten, `grid` (each axis of the grid
    by few components, then low rank). With data (no labels needed) forms start from whitened
    decompositions, and alternating least squares fits them where inputs vary and the model's
    outputs react. Each layer is changed alone in the model to measure its real error. On a machine
    that measures, candidates are timed, those of layers of one shape once, and what is not faster
    is out; where time alone counts, what takes clearly longer by the table and loses more is not
    looked at. The choice with the least error for what it saves wins: under `max_macs`,
    `max_error`, a limit on the drop (`--max-drop`, as far as it allows) or on the latency
    (`--max-latency` below 1). Or each layer follows a rule: `max_weights`, `rank`, `energy`,
    `evbmf`. Without any of these an error of 0.01 is spent. Then layers are replaced first to last.
    Each is fitted, within its rank, to the outputs of the original's layer on what the layers
    before it now make; layers that stay are fitted too. A model that is not faster is dropped.

    Leaves alone: names that match `exclude` or no pattern of `layers` (excluded, not-named), small
    and depthwise weights (too-small, depthwise), layers none of whose forms has fewer weights and
    less to multiply (no-form), layers that no budget pays for or whose forms do not measure faster
    (not-chosen, not-faster), those that have no chain that `chains` names (not-offered), everything
    if no choice holds a limit (too-lossy, too-slow, not-reached), layers of which each form alone
    ruins the model (too-lossy), layers with more inputs than pairs can be looked at (too-wide) or
    that cannot be timed alone (not-timed), weights that are computed, stacked, shared in different
    ways, quantized or not finite, or whose type cannot hold the factors (not-held, dynamic-weight,
    batched-weight, shared-weight, already-quantized, computed-weight, non-finite, odd-weight,
    vector), shapes, ranks and pads that are not known (unknown-shape, unknown-rank, auto-pad),
    recurrent operators (recurrent), and bodies of control flow (in-body); models older than opset
    11 (old-opset).
    Numerics: lossy.
    Reference: Zhang et al., Accelerating Very Deep Convolutional Networks, 2015; Jaderberg et al.,
    Speeding up Convolutional Neural Networks with Low Rank Expansions, 2014; Kim et al.,
    Compression of Deep Convolutional Neural Networks, 2016; Lebedev et al., Speeding-up
    Convolutional Neural Networks Using Fine-tuned CP-Decomposition, 2015; Nakajima et al., Global
    Analytic Solution of Fully-observed Variational Bayesian Matrix Factorization, 2013; Martens
    and Grosse, Kronecker-factored Approximate Curvature, 2015.
    """

    name = "factorize"

    methods: tuple[str, ...] = option(METHODS[:6], help="Forms to try.", choices=METHODS)

    tables: bool = option(
        False,
        help="Also factorize embedding tables into a narrower table and a product, by rank, "
        "energy or max_weights; this saves bytes, not time.",
    )

    def run(self, model: Model, ctx: Context) -> Outcome:
        """Replace tables, if they are named, and layers."""
        if not self.tables:
            return super().run(model, ctx)
        self._check(model)
        replaced = replace_tables(model, self, self._takes, ctx)
        if replaced:
            model.sort()
        outcome = super().run(model, ctx)
        if not replaced:
            return outcome
        counts = {"tables replaced": len(replaced), **outcome.counts}
        return Outcome(self.may_change, counts, {**outcome.details, "tables": replaced})

    def forms(self) -> Sequence[ChainForm]:
        """Return the forms that are tried."""
        return named(self.methods)
