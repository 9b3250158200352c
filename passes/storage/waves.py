"""Weights that are sums of cosines over pictures, made of their coefficients."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ocompress.archive.cosines import Plane, cosines
from ocompress.ir import DType
from ocompress.ir.packed import Recipe
from passes.storage.integers import NODE
from passes.storage.kinds import StoredForm

_DOUBLE, _FLOAT = int(DType.DOUBLE), int(DType.FLOAT)
_NODES = 8


@dataclass(frozen=True, eq=False)
class StoredWaves:
    """Whole coefficients in a form of their own, and the step of their sums.

    Attributes:
        levels: The coefficients, row by row.
        step: What sums are multiplied by, exact in float32.
        plane: How a row lies; its neighbours stand together.
        turned: Whether rows are the columns of the constant.
    """

    levels: StoredForm
    step: float
    plane: Plane
    turned: bool

    @property
    def name(self) -> str:
        """Name of the form."""
        return f"cosines, {self.levels.name}"

    @property
    def nbytes(self) -> int:
        """Bytes in a file."""
        tables = self.plane.down**2 + self.plane.across**2
        return self.levels.nbytes + tables + _NODES * NODE

    def write(self, recipe: Recipe, shape: tuple[int, ...]) -> str:
        """Multiply by the cosines of each axis, in double precision, which is exact."""
        rows = shape[::-1] if self.turned else shape
        levels = self.levels.write(recipe, (-1, self.plane.down, self.plane.across))
        levels = recipe.op("Cast", levels, to=_DOUBLE)
        down, across = (self._table(recipe, n) for n in (self.plane.down, self.plane.across))
        across = recipe.op("Transpose", across)
        sums = recipe.op("MatMul", recipe.op("MatMul", down, levels), across)
        sums = recipe.op("Reshape", sums, recipe.leaf(np.array(rows, np.int64)))
        sums = recipe.op("Transpose", sums) if self.turned else sums
        return recipe.op(
            "Mul",
            recipe.op("Cast", sums, to=_FLOAT),
            recipe.leaf(np.array([self.step], np.float32)),
        )

    def _table(self, recipe: Recipe, extent: int) -> str:
        table = cosines(extent).astype(np.int8)
        return recipe.op("Cast", recipe.leaf(table), to=_DOUBLE)
