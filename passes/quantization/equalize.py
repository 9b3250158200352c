"""Evening out channels before quantization."""

from __future__ import annotations

from fnmatch import fnmatchcase

import numpy as np

from ocompress.analysis.linear_layer import Refusal
from ocompress.analysis.ranges import ChannelRange, ChannelRanges
from ocompress.analysis.statistics import Observers, Statistics
from ocompress.diagnostics import Severity
from ocompress.errors import OptionError
from ocompress.ir import Facet, Model, edit, query
from ocompress.pipeline import Context, Numerics, Outcome, Pass, option
from ocompress.pipeline.naming import check_patterns
from passes import order
from passes.quantization.channel_chains import ChainPart, ChannelChain, find_chain, pads

_TINY = 1e-8
_MOST_SCALE = 1e3
_ROUNDS = 20


class Equalize(Pass):
    """Scale channels between layers so that one grid fits all.

    Before: y = Conv(Relu(Conv(x, W1, b1)), W2, b2)
    After:  y = Conv(Relu(Conv(x, W1 / s, b1 / s)), W2 * s, b2), s by channel of the inner value
    A grid for a whole tensor is as coarse as its widest channel needs, so channels of equal range
    lose least. `by=weights` gives the weights that make a channel the same range as the weights
    that read it, and needs no data. `by=activations` moves the range of activations into the
    weights after them, which have a grid per output channel: from a LayerNormalization into the
    products after it, or from a convolution into the next one. The function stays the same up to
    rounding. `absorb` moves the lower bound of a channel into the next bias, which is exact on the
    calibration data only.
    Leaves alone: channels that are an output of the model (is-output), that something without a
    constant weight reads (no-weigher), or that pass through a sum or a function that is not
    homogeneous, such as a Clip (not-homogeneous); weights that others read (shared-weight); bodies
    (other-graph); what no data reached (not-observed); what is excluded (excluded).
    Numerics: lossy, by the rounding of float32 unless `absorb` is set.
    References: Nagel et al., Data-Free Quantization through Weight Equalization and Bias
    Correction (2019); Xiao et al., SmoothQuant (2023).
    """

    name = "equalize"
    after = order.TO_EQUALIZE
    numerics = Numerics.LOSSY
    appetite = 0.3
    may_change = Facet.WEIGHTS | Facet.TOPOLOGY | Facet.NAMES

    by: str = option(
        "weights",
        help="What to equalize: the weights on both sides (without data), or activations against "
        "the weights after them (with data).",
        choices=("weights", "activations"),
    )
    alpha: float = option(
        0.5,
        help="How much of the range of activations moves into weights, for by=activations.",
        at_least=0.0,
        at_most=1.0,
    )
    absorb: bool = option(
        False,
        help="Whether to absorb the lower bound of each channel into the next bias; needs data.",
    )
    exclude: tuple[str, ...] = option((), help="Globs of node names whose channels to keep.")

    def __post_init__(self) -> None:
        """Check ranges, and options that contradict each other."""
        super().__post_init__()
        if self.absorb and self.by == "activations":
            msg = "equalize: absorb goes with by=weights; run the pass twice for both"
            raise OptionError(msg)

    def observers(self, model: Model) -> Observers:
        """Ask for the range of every channel that may be scaled or shifted."""
        if self.by == "weights" and not self.absorb:
            return {}
        return _observers(
            [c for _, n in model.nodes() if isinstance(c := find_chain(n), ChannelChain)]
        )

    def run(self, model: Model, ctx: Context) -> Outcome:
        """Scale every chain; with `by=weights` until nothing moves any more."""
        check_patterns(model, self.exclude, self.name)
        chains = self._chains(model, ctx)
        if not chains:
            why = "no two weights are connected by homogeneous operators only"
            ctx.remark(Severity.DECLINED, "nothing-to-equalize", why)
            return Outcome()
        needed = self.by == "activations" or self.absorb
        ranges = ctx.statistics(model, _observers(chains)) if needed else {}
        counts = {"chains equalized": 0}
        if self.absorb:  # first, for the ranges are those before anything is scaled
            counts["biases absorbed"] = sum(_absorb(c, ranges, ctx) for c in chains)
            chains = self._chains(model, None)  # some ends have a bias now
        if self.by == "activations":
            counts["chains equalized"] = sum(self._smooth(c, ranges, ctx) for c in chains)
        else:
            moved: set[int] = set()
            for _ in range(_ROUNDS):
                again = {i for i, c in enumerate(chains) if _even_out(c)}
                moved |= again
                if not again:
                    break
            counts["chains equalized"] = len(moved)
        done = {what: n for what, n in counts.items() if n}
        return Outcome(self.may_change, done) if done else Outcome()

    def _chains(self, model: Model, ctx: Context | None) -> list[ChannelChain]:
        found = []
        for _, node in model.nodes():
            chain = find_chain(node)
            if isinstance(chain, ChannelChain) and self._is_excluded(chain):
                chain = Refusal("excluded", "its name or that of an operator after it is excluded")
            if isinstance(chain, ChannelChain):
                found.append(chain)
            elif chain is not None and ctx is not None:
                ctx.skip(node, chain.code, chain.why)
        return found

    def _is_excluded(self, chain: ChannelChain) -> bool:
        nodes = [chain.source, *chain.through, *(w.node for w in chain.weighers)]
        return any(fnmatchcase(n.label, pattern) for n in nodes for pattern in self.exclude)

    def _smooth(self, chain: ChannelChain, statistics: Statistics, ctx: Context) -> bool:
        seen = _seen(chain, statistics)
        if seen is None:
            ctx.skip(chain.source, "not-observed", "no finite data reached its channels")
            return False
        wide = np.maximum(np.abs(seen.low), np.abs(seen.high))
        weights = np.max([w.peaks() for w in chain.weighers], axis=0)
        return _scale(chain, _power(wide, self.alpha) / _power(weights, 1 - self.alpha))


def _absorb(chain: ChannelChain, statistics: Statistics, ctx: Context) -> bool:
    """Move what channels never fall below from a bias through one Relu into the biases behind."""
    seen = _seen(chain, statistics)
    nodes = [chain.source, *(w.node for w in chain.weighers)]
    plain = (
        [n.op_type for n in chain.through] == ["Relu"]
        and len(chain.makers) == 2
        and all(n.is_op("Conv", "Gemm") for n in nodes)
        and all(n.attr("alpha", 1.0) == n.attr("beta", 1.0) == 1.0 for n in nodes)
        and all(n.input(2) is None or query.constant(n, 2) is not None for n in nodes)
    )
    if seen is None or not plain or pads(chain.weighers) or not (seen.low > 0).any():
        return False
    shift = np.maximum(seen.low, 0.0)
    bias = chain.makers[1]
    _set(bias, bias.array - shift)
    for end in chain.weighers:
        _raise_bias(end, shift)
    ctx.applied(
        chain.source, "absorbed", "the lower bound of its channels was absorbed into the next bias"
    )
    return True


def _observers(chains: list[ChannelChain]) -> Observers:
    return {name: frozenset({ChannelRanges(axis)}) for c in chains for name, axis in c.seen}


def _seen(chain: ChannelChain, statistics: Statistics) -> ChannelRange | None:
    found = [statistics.get((name, ChannelRanges(axis))) for name, axis in chain.seen]
    whole = [r for r in found if r is not None and len(r.low) == chain.channels]
    if len(whole) < len(found):
        return None
    return ChannelRange(np.min([r.low for r in whole], 0), np.max([r.high for r in whole], 0))


def _power(array: np.ndarray, exponent: float) -> np.ndarray:
    """Return the power, 1 where there is nothing."""
    found: np.ndarray = np.where(array > _TINY, np.maximum(array, _TINY) ** exponent, 1.0)
    return found


def _even_out(chain: ChannelChain) -> bool:
    first = chain.makers[0].peaks()
    second = np.max([w.peaks() for w in chain.weighers], axis=0)
    whole = (first > _TINY) & (second > _TINY) & np.isfinite(first) & np.isfinite(second)
    ratio = np.where(whole, np.maximum(first, _TINY) / np.maximum(second, _TINY), 1.0)
    scales = np.sqrt(ratio)
    # the mean stays, or the two layers would only swap their ranges
    if np.allclose(scales, 1.0, rtol=1e-2):
        return False
    return _scale(chain, scales)


def _scale(chain: ChannelChain, scales: np.ndarray) -> bool:
    """Divide what makes channels by scales and multiply what weighs them; powers of two.

    Scaling by powers of two is exact in floats, and a grid is at most half as fine for it.
    """
    exact = np.exp2(np.rint(np.log2(np.clip(scales, 1 / _MOST_SCALE, _MOST_SCALE))))
    if (exact == 1).all():
        return False
    for part in chain.makers:
        _set(part, part.array / _along(part, exact))
    for part in chain.weighers:
        _set(part, part.array * _along(part, exact))
    return True


def _along(part: ChainPart, scales: np.ndarray) -> np.ndarray:
    shape = [1] * part.array.ndim
    shape[part.axis] = -1
    return scales.astype(np.float32).reshape(shape)


def _set(part: ChainPart, array: np.ndarray) -> None:
    value = part.node.input(part.index)
    assert value is not None
    edit.set_weight(value, array.astype(np.float32))


def _raise_bias(end: ChainPart, shift: np.ndarray) -> None:
    weight = np.moveaxis(end.array, end.axis, 0).astype(np.float64)
    node = end.node
    if node.is_op("Conv") and node.attr("group", 1) > 1:
        raised = weight.reshape(len(weight), -1).sum(axis=1) * shift
    else:
        by_input = weight.reshape(len(weight), weight.shape[1], -1).sum(axis=2)
        raised = shift @ by_input
    bias = node.input(2)
    assert node.graph is not None
    if bias is None:
        node.set_input(2, node.graph.constant(f"{node.label}_bias", raised.astype(np.float32)))
        return
    own = edit.own_weight(node, 2)
    assert own.data is not None
    edit.set_weight(own, (own.data + raised).astype(np.float32))
