"""Which weights may only go together: single ones, N of M neighbours, blocks."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from ocompress.analysis.weight_form import WeightForm
from passes.pruning import magnitude


@dataclass(frozen=True)
class Pattern:
    """A parsed pattern.

    Attributes:
        keep: For N:M the number that stay of each group, else 0.
        group: For N:M the size of a group, else 0.
        rows: Outputs per unit, 0 for all.
        columns: Inputs per unit, 0 for all.
        taps: Taps per unit: 1, or 0 for all.
    """

    keep: int = 0
    group: int = 0
    rows: int = 1
    columns: int = 1
    taps: int = 1

    @property
    def fixed_sparsity(self) -> float | None:
        """The share of zeros that N:M implies, None where it may be chosen."""
        return 1 - self.keep / self.group if self.group else None

    @property
    def is_block(self) -> bool:
        """Whether several weights go together."""
        return (self.rows, self.columns, self.taps) != (1, 1, 1)

    def means(self, values: np.ndarray, form: WeightForm) -> np.ndarray:
        """Return the mean of each unit in one dimension, float32.

        Args:
            values: One number per weight, of the weight's shape.
            form: Where its channels are.
        """
        if not self.is_block:
            return values.astype(np.float32, copy=False).reshape(-1)
        return magnitude.block_means(_matrix(values, form), *self._extents(form)).reshape(-1)

    def sizes(self, form: WeightForm) -> np.ndarray:
        """Return the weights in each unit, in one dimension."""
        return np.bincount(self.numbers(form).reshape(-1))

    def numbers(self, form: WeightForm) -> np.ndarray:
        """Return for each weight the number of its unit, of the weight's shape."""
        if not self.is_block:
            return np.arange(int(np.prod(form.shape))).reshape(form.shape)
        counts = [-(-e // b) for e, b in zip(_cube(form), self._extents(form), strict=True)]
        return self.elements(np.arange(int(np.prod(counts))), form)

    def elements(self, chosen: np.ndarray, form: WeightForm) -> np.ndarray:
        """Turn what is said of units into the same of each weight, of the weight's shape."""
        if not self.is_block:
            return chosen.reshape(form.shape)
        cube, extents = _cube(form), self._extents(form)
        counts = [-(-e // b) for e, b in zip(cube, extents, strict=True)]
        whole = magnitude.spread(chosen.reshape(counts), cube, extents)
        axes = (form.out_axis, form.in_axis)
        rest = tuple(e for i, e in enumerate(form.shape) if i not in axes)
        return np.moveaxis(whole.reshape(*cube[:2], *rest), (0, 1), axes)

    def groups_mask(self, scores: np.ndarray, form: WeightForm) -> np.ndarray:
        """Return what N:M zeroes, bool in the shape of the scores, larger for what stays."""
        rows = np.moveaxis(scores, form.in_axis, -1)
        return np.moveaxis(magnitude.n_of_m(rows, self.keep, self.group), -1, form.in_axis)

    def _extents(self, form: WeightForm) -> tuple[int, int, int]:
        cube = _cube(form)
        return self.rows or cube[0], self.columns or cube[1], self.taps or cube[2]


def _cube(form: WeightForm) -> tuple[int, int, int]:
    """Return outputs, inputs and taps, as the weight stores them."""
    outputs, inputs = form.shape[form.out_axis], form.shape[form.in_axis]
    return outputs, inputs, int(np.prod(form.shape)) // max(outputs * inputs, 1)


def _matrix(weight: np.ndarray, form: WeightForm) -> np.ndarray:
    front = np.moveaxis(weight, (form.out_axis, form.in_axis), (0, 1))
    return front.reshape(*front.shape[:2], -1)


NAMED = {
    "unstructured": Pattern(),
    "kernel": Pattern(taps=0),
    "vector": Pattern(rows=0),
    "filter": Pattern(columns=0, taps=0),
}
"""Single weights; all taps between one input and one output channel; the same input and tap in
all outputs; all that makes one output channel."""


def parse(text: str) -> Pattern | None:
    """Read a name, `2:4` (kept of neighbours) or `4x1` (outputs by inputs per block).

    Returns:
        None if the text is none of these.
    """
    if text in NAMED:
        return NAMED[text]
    groups = re.fullmatch(r"(\d+):(\d+)", text)
    if groups:
        keep, group = int(groups[1]), int(groups[2])
        return Pattern(keep=keep, group=group) if 0 < keep < group else None
    block = re.fullmatch(r"(?:block=)?(\d+)x(\d+)", text)
    if block:
        rows, columns = int(block[1]), int(block[2])
        return Pattern(rows=rows, columns=columns) if rows * columns else None
    return None
