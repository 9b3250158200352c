"""Windows that move over the last axes of a tensor: kernels, steps and pads in numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ocompress.training.registry import Call


@dataclass(frozen=True)
class SlidingWindow:
    """Where the windows of a convolution or pooling lie.

    Attributes:
        kernel: Extents.
        strides: Steps from one window to the next.
        dilations: Steps between the taps of a window.
        begins: Elements added before each axis.
        ends: Elements added after each axis.
        reaches: Extents of a window with the gaps between its taps.
    """

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    begins: tuple[int, ...]
    ends: tuple[int, ...]

    @classmethod
    def of(cls, call: Call, kernel: Sequence[int]) -> SlidingWindow:
        """Read the attributes of a node whose first input is [batch, channels, *axes]."""
        axes = len(kernel)
        strides = tuple(int(s) for s in call.attr("strides", [1] * axes))
        dilations = tuple(int(d) for d in call.attr("dilations", [1] * axes))
        how = call.attr("auto_pad", "NOTSET")
        pads = [int(p) for p in call.attr("pads", [0] * 2 * axes)]
        if how == "VALID":
            pads = [0] * 2 * axes
        elif how.startswith("SAME"):
            totals = [
                max((-(-n // s) - 1) * s + (k - 1) * d + 1 - n, 0)
                for n, s, k, d in zip(call.shape()[2:], strides, kernel, dilations, strict=True)
            ]
            less = [t // 2 for t in totals]
            more = [t - half for t, half in zip(totals, less, strict=True)]
            pads = [*less, *more] if how == "SAME_UPPER" else [*more, *less]
        begins, ends = tuple(pads[:axes]), tuple(pads[axes:])
        return cls(tuple(kernel), strides, dilations, begins, ends)

    @property
    def axes(self) -> int:
        """Number of axes that windows move along."""
        return len(self.kernel)

    @property
    def reaches(self) -> tuple[int, ...]:
        """Extents of a window with the gaps between its taps."""
        return tuple((k - 1) * d + 1 for k, d in zip(self.kernel, self.dilations, strict=True))

    def counts(self, extents: Sequence[int]) -> tuple[int, ...]:
        """Return how many whole windows there are along each axis."""
        around = zip(extents, self.begins, self.ends, self.reaches, self.strides, strict=True)
        return tuple((n + b + e - r) // s + 1 for n, b, e, r, s in around)

    def needed_ends(self, extents: Sequence[int], counts: Sequence[int]) -> tuple[int, ...]:
        """Return what has to be added after each axis for so many windows; may be negative."""
        around = zip(extents, self.begins, counts, self.reaches, self.strides, strict=True)
        return tuple((c - 1) * s + r - n - b for n, b, c, r, s in around)


def padding(begins: Sequence[int], ends: Sequence[int]) -> list[int]:
    """Return pads in the order of `torch.nn.functional.pad`: last axis first."""
    return [p for pair in zip(reversed(begins), reversed(ends), strict=True) for p in pair]
