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
        rows: Outputs per block.
        columns: Inputs per block.
    """

    keep: int = 0
    group: int = 0
    rows: int = 1
    columns: int = 1

    @property
    def fixed_sparsity(self) -> float | None:
        """The share of zeros that N:M implies, None where it may be chosen."""
        return 1 - self.keep / self.group if self.group else None

    @property
    def is_block(self) -> bool:
        """Whether several weights go together."""
        return self.rows * self.columns > 1

    def scores(self, weight: np.ndarray, form: WeightForm, norm: float) -> np.ndarray:
        """Return one float32 score per unit, in one dimension, divided by `norm`."""
        if not self.is_block:
            scores = magnitude.magnitudes(weight)
        else:
            scores = magnitude.block_scores(_matrix(weight, form), self.rows, self.columns)
        scores /= np.float32(norm)
        return scores.reshape(-1)

    def units(self, form: WeightForm) -> int:
        """Return the number of units a weight has."""
        size = int(np.prod(form.shape))
        if not self.is_block:
            return size
        outputs, inputs = form.shape[form.out_axis], form.shape[form.in_axis]
        taps = size // max(outputs * inputs, 1)
        return -(-outputs // self.rows) * -(-inputs // self.columns) * taps

    def elements(self, chosen: np.ndarray, form: WeightForm) -> np.ndarray:
        """Turn a choice of units into a mask of the weight's shape."""
        if not self.is_block:
            return chosen.reshape(form.shape)
        first = (form.shape[form.out_axis], form.shape[form.in_axis])
        rest = tuple(e for i, e in enumerate(form.shape) if i not in (form.out_axis, form.in_axis))
        blocks = chosen.reshape(-(-first[0] // self.rows), -(-first[1] // self.columns), -1)
        mask = magnitude.spread(blocks, first, self.rows, self.columns)
        return np.moveaxis(mask.reshape(*first, *rest), (0, 1), (form.out_axis, form.in_axis))

    def groups_mask(self, weight: np.ndarray, form: WeightForm) -> np.ndarray:
        """Return what N:M zeroes in a weight."""
        rows = np.moveaxis(weight, form.in_axis, -1)
        return np.moveaxis(magnitude.n_of_m(rows, self.keep, self.group), -1, form.in_axis)


def _matrix(weight: np.ndarray, form: WeightForm) -> np.ndarray:
    front = np.moveaxis(weight, (form.out_axis, form.in_axis), (0, 1))
    return front.reshape(*front.shape[:2], -1)


def parse(text: str) -> Pattern | None:
    """Read `unstructured`, `2:4` (kept of neighbours) or `4x1` (outputs by inputs per block).

    Returns:
        None if the text is none of these.
    """
    if text == "unstructured":
        return Pattern()
    groups = re.fullmatch(r"(\d+):(\d+)", text)
    if groups:
        keep, group = int(groups[1]), int(groups[2])
        return Pattern(keep=keep, group=group) if 0 < keep < group else None
    block = re.fullmatch(r"(?:block=)?(\d+)x(\d+)", text)
    if block:
        rows, columns = int(block[1]), int(block[2])
        return Pattern(rows=rows, columns=columns) if rows * columns else None
    return None
