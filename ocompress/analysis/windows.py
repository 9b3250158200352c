"""How convolutions walk over their inputs, and what their kernels see on the way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Window:
    """How a convolution walks over its input.

    Attributes:
        kernel: Extents of the kernel.
        strides: Steps, one per spatial axis.
        dilations: Distances within the kernel, one per spatial axis.
        pads: Padding before and after, one pair per spatial axis.
        groups: Groups of channels.
    """

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: tuple[tuple[int, int], ...]
    groups: int = 1

    def extents(self, shape: Sequence[int]) -> tuple[int, ...]:
        """Return the spatial extents of the output for an input shape [n, channels, ...]."""
        padded = [x + sum(p) for x, p in zip(shape[2:], self.pads, strict=True)]
        spans = [(k - 1) * d + 1 for k, d in zip(self.kernel, self.dilations, strict=True)]
        steps = zip(padded, spans, self.strides, strict=True)
        return tuple(max(0, (x - span) // s + 1) for x, span, s in steps)

    def patches(self, array: np.ndarray, places: np.ndarray, fill: float = 0) -> np.ndarray:
        """Return what the kernel sees at some places of every item.

        Args:
            array: Shape [n, channels, ...].
            places: Flat indices into the spatial extents of the output, shape [places].
            fill: What padding is filled with.

        Returns:
            Shape [n, places, groups, channels / groups, *kernel].
        """
        padded = array
        if any(sum(pads) for pads in self.pads):
            padded = np.pad(array, ((0, 0), (0, 0), *self.pads), constant_values=fill)
        at = np.unravel_index(places, self.extents(array.shape))
        rank = len(self.kernel)
        flat = np.zeros((len(places), *(1,) * rank), np.int64)  # where in the padded area
        for axis, (place, step, gap) in enumerate(
            zip(at, self.strides, self.dilations, strict=True)
        ):
            seen = place[:, None] * step + np.arange(self.kernel[axis])[None] * gap
            own = seen.reshape(len(place), *(-1 if a == axis else 1 for a in range(rank)))
            flat = flat * padded.shape[2 + axis] + own
        found = np.take(padded.reshape(*padded.shape[:2], -1), flat.reshape(-1), axis=2)
        found = found.reshape(*padded.shape[:2], *flat.shape)  # [n, channels, places, *kernel]
        found = np.moveaxis(found, 2, 1)
        shape = (*found.shape[:2], self.groups, -1, *self.kernel)
        return found.reshape(shape)

    def transposed_extents(self, shape: Sequence[int], extra: Sequence[int]) -> tuple[int, ...]:
        """Return the spatial extents that a transposed convolution makes of an input shape.

        Args:
            shape: [n, channels, ...].
            extra: What it pads its output with at the end, one per spatial axis.
        """
        spans = [(k - 1) * d + 1 for k, d in zip(self.kernel, self.dilations, strict=True)]
        return tuple(
            (x - 1) * step + span - sum(pad) + more
            for x, step, span, pad, more in zip(
                shape[2:], self.strides, spans, self.pads, extra, strict=True
            )
        )

    def scattered(
        self, array: np.ndarray, places: np.ndarray, extents: Sequence[int]
    ) -> np.ndarray:
        """Return what a transposed convolution adds up at some places of every item.

        Args:
            array: Shape [n, channels, ...].
            places: Flat indices into the spatial extents of the output, shape [places].
            extents: The spatial extents of the output.

        Returns:
            Shape [n, places, groups, channels / groups, *kernel]; 0 where a tap meets nothing.
        """
        at = np.unravel_index(places, tuple(extents))
        rank = len(self.kernel)
        index, met = [], np.ones((len(places), *self.kernel), bool)
        for axis, (place, step, gap) in enumerate(
            zip(at, self.strides, self.dilations, strict=True)
        ):
            shape = (len(place), *(-1 if a == axis else 1 for a in range(rank)))
            offset = place[:, None] + self.pads[axis][0] - np.arange(self.kernel[axis])[None] * gap
            source = offset // step
            inside = (offset % step == 0) & (source >= 0) & (source < array.shape[2 + axis])
            met &= inside.reshape(shape)
            index.append(np.where(inside, source, 0).reshape(shape))
        where: tuple[object, ...] = (slice(None), slice(None), *index)
        found = np.where(met, array[where], 0)  # type: ignore[index]
        found = np.moveaxis(found, 2, 1)
        return found.reshape(*found.shape[:2], self.groups, -1, *self.kernel)

    def rows(self, codes: np.ndarray, zero: int, count: int) -> np.ndarray:
        """Return what the kernel sees at places spread evenly over the outputs of all items.

        Args:
            codes: Shape [n, channels, ...], unsigned.
            zero: What padding is filled with.
            count: Places at most.

        Returns:
            Shape [groups, places, kernel * channels / groups], channels last.
        """
        extents = self.extents(codes.shape)
        area = int(np.prod(extents))
        items, places = np.divmod(_spread(len(codes) * area, count), max(1, area))
        inner = int(np.prod(self.kernel)) * codes.shape[1] // self.groups
        found = [np.zeros((self.groups, 0, inner), codes.dtype)]
        for item in np.unique(items):
            seen = self.patches(codes[item : item + 1], places[items == item], zero)[0]
            last = np.moveaxis(seen, 2, -1)  # [places, groups, *kernel, channels / groups]
            found.append(last.reshape(*last.shape[:2], -1).transpose(1, 0, 2))
        return np.concatenate(found, axis=1)

    def columns(self, weight: np.ndarray) -> np.ndarray:
        """Return a weight [outputs, inputs, ...] as [groups, kernel * inputs, outputs]."""
        last = np.moveaxis(weight, 1, -1)
        return last.reshape(self.groups, weight.shape[0] // self.groups, -1).transpose(0, 2, 1)


def window_of(
    kernel: Sequence[int],
    groups: int,
    *,
    strides: Sequence[int] | None,
    dilations: Sequence[int] | None,
    pads: Sequence[int] | None,
) -> Window:
    """Make a window from the attributes of a Conv; those that are None have ONNX's defaults."""
    rank = len(kernel)
    flat = list(pads or [0] * 2 * rank)
    return Window(
        kernel=tuple(kernel),
        strides=tuple(strides or [1] * rank),
        dilations=tuple(dilations or [1] * rank),
        pads=tuple(zip(flat[:rank], flat[rank:], strict=True)),
        groups=groups,
    )


def _spread(total: int, count: int) -> np.ndarray:
    return np.unique(np.linspace(0, total - 1, min(total, count)).astype(np.int64))
