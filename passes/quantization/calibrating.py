"""How the range of each tensor is chosen where nobody says: by what the outputs lose."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from ocompress.analysis.observe import observe
from ocompress.analysis.sensitivity import Edit
from ocompress.io.holdout import Split, hold_out
from ocompress.ir import Model, Value
from ocompress.pipeline import Context
from passes.quantization import matching
from passes.quantization.drafting import Drafter
from passes.quantization.noise import (
    Noise,
    OutputHarm,
    grid_variants,
    grouped_grids,
    measure_weights,
    noise_of,
    scaled_to,
)
from passes.quantization.scheme import ActivationGrid
from passes.quantization.units import Unit

_OTHER = "minmax"
"""What is tried beside the least squared error."""
_MOST_TRIED = 12
"""Groups of tensors, the noisiest first, for which the others are tried one by one."""
_BETTER = 0.9
"""Noise over that of the least squared error from which another range is taken."""
_ALIKE = 0.02
"""Relative difference of scales below which two grids count as one."""
_FEW, _FEW_WORK = 128, 3e9
"""Samples up to which ranges are rehearsed, and multiply-accumulates of all of them."""
_TRIED, _FEW_TRIED = 4, 16
"""Samples at most for one tensor at a time; of few samples more, for they differ more."""
_SAMPLES = 128
"""Samples at most for comparing whole models."""
_MOST_WORK = 1e10
"""Multiply-accumulates that comparing whole models may take, about."""


@dataclass
class Calibration:
    """Measures noise, and chooses ranges by it.

    Few samples do not show how far others reach. So with few, ranges are rehearsed: taken from a
    part of the samples, and judged on the rest.

    Attributes:
        drafter: Has the model; its calibrations are set.
        units: What may become integers, in graph order.
        macs: Multiply-accumulates of a sample.
        ctx: Has the data.
    """

    drafter: Drafter
    units: Sequence[Unit]
    macs: float
    ctx: Context

    def measure(self, chosen: Sequence[Unit]) -> Noise:
        """Round one value or weight at a time, and the noisiest values with other ranges as well.

        Args:
            chosen: The units whose noise all together is what that of single ones is scaled to.
        """
        scheme = self._stand_in.scheme(self.units)
        touching, groups = grouped_grids(self.drafter.model, scheme, self.units)
        variants = grid_variants(groups, scheme.grids)
        found = self._noise_of(variants, "quantizing one tensor at a time")
        noise = [harm.noise for harm in found.values()]
        better: dict[str, str] = {}
        if self.drafter.rounding.chooses_ranges:
            better = self._try_others(groups, scheme.grids, noise)
        parts: list[tuple[Collection[int], float]] = []
        for group, own in zip(groups, noise, strict=True):
            parts += [(touching[id(v)], own / len(group)) for v in group]
        parts += measure_weights(self.drafter.model, scheme, self.units, self.macs, self.ctx)
        return scaled_to(Noise(parts), chosen, self.settle(chosen, better))

    def settle(self, chosen: Sequence[Unit], better: Mapping[str, str]) -> OutputHarm:
        """Take the ranges that leave a quantized model the least noise, on more samples.

        In the running are the least squared error for all, the whole range for all, and the
        choice made tensor by tensor; only what the user says if there is such a thing.

        Args:
            chosen: What shall be integers.
            better: Calibrations by name of the value, where another one than the least squared
                error is better.

        Returns:
            What is left of noise.
        """
        choices: list[Mapping[str, str]] = [{}]
        if self.drafter.rounding.chooses_ranges:
            everywhere = dict.fromkeys(self.drafter.values(chosen), "minmax")
            choices += [c for c in (everywhere, better) if c and c not in choices]
        variants = {}
        for at, calibrations in enumerate(choices):
            self._stand_in.recalibrate(calibrations)
            variants[str(at)] = _become(self._stand_in.draft(chosen).model)
        work = max(1.0, self.macs * len(variants))
        samples = int(min(_SAMPLES, max(4, _MOST_WORK / work)))
        found = self._noise_of(variants, "comparing ranges", samples)
        least = min(found, key=lambda name: found[name].noise)
        self.drafter.recalibrate(choices[int(least)])
        return found[least]

    @cached_property
    def _split(self) -> Split | None:
        samples = self.ctx.data.samples
        few = samples <= _FEW and samples * self.macs <= _FEW_WORK
        chooses = few and self.drafter.rounding.chooses_ranges
        split = hold_out(self.ctx.data, seed=self.ctx.seed) if chooses else None
        return split if split is not None and split.is_apart else None

    @cached_property
    def _stand_in(self) -> Drafter:
        """What is measured: the drafter, or one with the ranges of a part of the samples."""
        if self._split is None:
            return self.drafter
        wanted = {
            name: frozenset({matching.HISTOGRAM})
            for name, observer in self.drafter.statistics
            if observer == matching.HISTOGRAM
        }
        model, data = self.drafter.model, self._split.fit
        found = observe(model, data, wanted, lambda *_: None)
        return replace(self.drafter, statistics={**self.drafter.statistics, **found}, _ranges={})

    def _noise_of(
        self, variants: Mapping[str, Edit], stage: str, samples: int = 0
    ) -> dict[str, OutputHarm]:
        data = None if self._split is None else self._split.held_out
        most = samples or (_FEW_TRIED if data is not None else _TRIED)
        macs = 0.0 if samples else self.macs
        model, ctx = self.drafter.model, self.ctx
        return noise_of(model, variants, macs, ctx, f"quant: {stage}", samples=most, data=data)

    def _try_others(
        self,
        groups: Sequence[Sequence[Value]],
        grids: Mapping[int, ActivationGrid],
        noise: list[float],
    ) -> dict[str, str]:
        """Return better calibrations by name of the value; `noise` becomes what they leave."""
        order = sorted(range(len(groups)), key=lambda i: -noise[i])[:_MOST_TRIED]
        others = self._stand_in.grids(self.units, _OTHER)
        tried = [i for i in order if any(_differ(grids, others, v) for v in groups[i])]
        variants = grid_variants([groups[i] for i in tried], others)
        found = self._noise_of(variants, f"ranges by {_OTHER}")
        better: dict[str, str] = {}
        for i, harm in zip(tried, found.values(), strict=True):
            if harm.noise < _BETTER * noise[i]:
                noise[i] = harm.noise
                better |= dict.fromkeys((v.name for v in groups[i]), _OTHER)
        return better


def _differ(
    grids: Mapping[int, ActivationGrid], others: Mapping[int, ActivationGrid], value: Value
) -> bool:
    one, other = grids[id(value)].scale, others[id(value)].scale
    return abs(one - other) > _ALIKE * max(one, other)


def _become(draft: Model) -> Edit:
    def change(clone: Model) -> bool:
        clone.become(draft.clone())
        return True

    return change
