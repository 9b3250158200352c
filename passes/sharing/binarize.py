"""Weights of signs: one number or a few for each output, and a bit or a few for each weight."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ocompress.errors import OptionError
from ocompress.ir import Model
from ocompress.lossy import LossyPass, Plan
from ocompress.lossy.engine import Chosen, Reason
from ocompress.pipeline import Context, option
from ocompress.pipeline.goals import Gauge
from passes.sharing import planes
from passes.sharing.layers import Measured, WeightStack
from passes.sharing.projected import Code
from passes.sharing.projecting import ProjectedProposal, ProjectingPass
from passes.sharing.quadratic import Quadratic
from passes.sharing.signed_inputs import SignedInputs, refusal_of
from passes.sharing.sizes import bits_taken

_MOST_PLANES = 4
_DEFAULT = 2
_SCALE_BYTES = 4
_TERNARY_BITS = 1.6


@dataclass(frozen=True)
class Planes:
    """Sums of so many planes of signs.

    Attributes:
        count: How many.
        by_input: Whether inputs may have numbers, too.
    """

    count: int
    by_input: bool = True

    @property
    def method(self) -> str:
        """What it is."""
        return "planes"

    @property
    def setting(self) -> str:
        """How far it goes."""
        return f"{self.count} plane{'s' if self.count > 1 else ''}"

    def nbytes(self, layer: WeightStack) -> int:
        """Return a bit for each weight and plane, and the scales."""
        scales = layer.weight.form.outputs * self.count * _SCALE_BYTES
        return -(-layer.weight.array.size * self.count // 8) + scales

    def solve(self, problem: Quadratic, layer: WeightStack, *, quick: bool = False) -> np.ndarray:
        """Return the weight that costs least."""
        return _solved(problem, planes.signs_of(self.count), None, quick, by_input=self.by_input)


@dataclass(frozen=True)
class Ternary:
    """A sign or zero; what is zero stays zero."""

    method: str = "ternary"
    setting: str = "a sign or zero"

    def nbytes(self, layer: WeightStack) -> int:
        """Return what five weights in a byte take, and the scales."""
        scales = layer.weight.form.outputs * _SCALE_BYTES
        return round(layer.weight.array.size * _TERNARY_BITS / 8) + scales

    def solve(self, problem: Quadratic, layer: WeightStack, *, quick: bool = False) -> np.ndarray:
        """Return the weight that costs least."""
        free = layer.matrix(layer.weight.array) != 0
        return _solved(problem, planes.TERNARY, free, quick)


def _solved(
    problem: Quadratic,
    words: np.ndarray,
    free: np.ndarray | None,
    quick: bool,
    *,
    by_input: bool = True,
) -> np.ndarray:
    rounds = 1 if quick else planes.ROUNDS
    columns = planes.columns_of(problem) if by_input else None
    if columns is None:
        return planes.solve(problem, words, free, rounds).matrix
    own = planes.by_columns(problem, columns)
    costs = [p.cost(planes.solve(p, words, free, rounds=0).matrix) for p in (problem, own)]
    if costs[0] <= costs[1]:
        return planes.solve(problem, words, free, rounds).matrix
    return np.asarray(planes.solve(own, words, free, rounds).matrix * columns[:, :, None])


class Binarize(ProjectingPass):
    """Make weights of signs: a bit each, times a number for each output; or a few such planes.

    Before: y = Conv(x, W)
    After:  y = Conv(x, W'), W' = a1 * B1 + a2 * B2 + ..., B of -1 and 1, a for each output channel

    `pack-weights` stores a plane in a bit a weight, a ternary weight in 1.6 bits, and the numbers
    beside them, in a form that ONNX Runtime restores at load. Where many outputs share an input,
    its weights have a number in common, too. With calibration data (no labels needed) signs are
    taken input by input, the inputs that follow making up for each error, as in optimal brain
    quantization, on what the layers before now make; then numbers in closed form and signs one by
    one, in turn, where errors of outputs cost least by the Fisher information of the model's own
    outputs. Biases are fitted, and the layers behind that keep their weights. Without data the
    numbers are means of magnitudes, plane after plane.

    How far: as `planes`, `ternary` or `bits` say (`bits` chooses for each layer); else as far as a
    limit on the drop (`--max-drop`) allows, which chooses among all of them for each layer; else
    two planes. Nothing is trained: one plane alone loses a lot on deep nets.

    `activations` lets layers read signs, too, as XNOR-Net does: BatchNormalization by mean and
    deviation of each channel, Sign, and a layer of one plane whose numbers of outputs are fitted
    to these signs. A Relu that nothing but signs would read goes. The first and the last layers
    stay as they are unless `protect_ends=false`. It needs data, and `tune` after it, which passes
    gradients through signs. Operators are those of the standard, so nothing becomes faster.

    Leaves alone: first and last layers where `protect_ends` says so (first-layer, last-layer); with
    `activations`, layers that data do not reach (unseen) or whose channels are on another axis than
    the second (axis); layers whose weights cost more than they save (not-chosen), weights below
    `smallest` (too-small), names that match `exclude` (excluded), operators not in `op_types`
    (op-type), recurrent ones (recurrent), quantized weights (already-quantized), computed ones
    (dynamic-weight), ones that something else reads (shared-weight), ones with infinities
    (non-finite), ones that the file computes of less (computed-weight), ones of zeros only
    (all-zero); everything where no choice keeps to the limit (too-lossy).
    Numerics: lossy.
    Reference: Rastegari et al., XNOR-Net, 2016; Guo et al., Network Sketching, 2017; Li et al.,
    Ternary Weight Networks, 2016; Frantar et al., Optimal Brain Compression, 2022.
    """

    name = "binarize"
    goals = ("planes", "ternary", "bits", "activations")
    aims = ("bits",)
    usual = Planes(_DEFAULT)
    in_half = True

    planes: int | None = option(
        None, help="Planes of signs of every layer.", at_least=1, at_most=_MOST_PLANES
    )
    ternary: bool = option(False, help="A sign or zero for every weight of every layer.")
    bits: float | None = option(
        None,
        help="Mean bits of a weight; layers get as many planes as cost least.",
        at_least=1.0,
        at_most=32.0,
    )
    activations: bool = option(
        False, help="Let layers read signs, too; their weights get one plane unless told otherwise."
    )
    protect_ends: bool | None = option(
        None, help="Leave the first and the last layers alone; none: with `activations`."
    )

    def __post_init__(self) -> None:
        """Check that one thing is asked for."""
        super().__post_init__()
        given = [goal for goal in self.goals_given if goal != "activations"]
        if len(given) > 1:
            msg = f"binarize: {' and '.join(given)} exclude each other; give one of them"
            raise OptionError(msg)
        if self.activations and not self.fit:
            msg = "binarize: layers that read signs have to be fitted; leave out fit=false"
            raise OptionError(msg)

    @property
    def spares_ends(self) -> bool:
        """Whether the first and the last layers stay as they are."""
        return self.activations if self.protect_ends is None else self.protect_ends

    def signs(self, own: Measured, ctx: Context) -> SignedInputs | Reason | None:
        """Return what inputs are compared with, by the data.

        Raises:
            DataError: If there are no data.
        """
        if not self.activations:
            return None
        samples = ctx.data.samples
        if own.view is None:
            return Reason("unseen", f"{samples} samples do not tell what its inputs are")
        why = refusal_of(own.view.site)
        return SignedInputs.of(own.view.site, own.view.sums) if why is None else Reason("axis", why)

    def blind(self) -> LossyPass | None:
        """Return the pass that fits nothing; there is none where layers read signs."""
        return None if self.activations else super().blind()

    def codes(self, layer: WeightStack) -> Sequence[Code] | Reason:
        """Return planes and the ternary form, or the one that is asked for."""
        if self.ternary:
            return [Ternary()]
        if self.planes is not None:
            return [Planes(self.planes, not self.activations)]
        if self.activations and self.bits is None:
            return [Planes(1, by_input=False)]
        return [Planes(1), Ternary(), *(Planes(n) for n in range(2, _MOST_PLANES + 1))]

    def gauges(
        self, model: Model, proposal: ProjectedProposal, chosen: Chosen, ctx: Context
    ) -> Iterator[Gauge]:
        """Yield the mean bits of a weight."""
        if self.bits is not None:
            taken = proposal.bits_of(chosen.plan)
            yield bits_taken("bits", self.bits, taken, proposal.elements if taken else 0)

    def asked(self, proposal: ProjectedProposal) -> Plan:
        """Return the planes that are asked for."""
        if self.bits is not None:
            return proposal.taking_bits(self.bits) if proposal.elements else {}
        return super().asked(proposal)
