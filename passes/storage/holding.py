"""How files hold constants whose form is known: because it was found, or because a pass made them.

A pass that puts a weight on a grid changes numbers and says so here; what a file has of it is
written down with the forms that `pack-weights` finds by looking.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ocompress.ir import Value, edit, packed
from ocompress.ir.packed import Packed, Recipe
from passes.storage.blocked import BlockedIntegers
from passes.storage.forms import is_whole
from passes.storage.kinds import Plain, Scaled, StoredForm, Whole
from passes.storage.scaled import on_grid


def written(form: StoredForm, shape: tuple[int, ...], *, nibbles: bool = False) -> Packed:
    """Return what a file has of a constant of some shape in a form.

    Args:
        form: The form.
        shape: The shape.
        nibbles: Whether integers of 4 bits may be used.
    """
    recipe = Recipe(nibbles=nibbles)
    form.write(recipe, shape)
    return recipe.packed()


def put_on_grid(value: Value, integers: np.ndarray, scales: np.ndarray) -> None:
    """Replace a constant by integers times scales, which files hold, at any operator set from 7 on.

    Runtimes multiply them when they load the model.

    Args:
        value: A float32 constant; every reader reads the products.
        integers: int8, shape of the constant.
        scales: float32, broadcast with it.
    """
    levels = integers.astype(np.float32)
    axes = tuple(a for a, extent in enumerate(scales.shape) if extent > 1)
    edit.set_weight(value, levels * scales)
    value.set_packed(_packed(levels, scales, axes, value.name))


def put_in_blocks(value: Value, weight: BlockedIntegers, axes: tuple[int, ...]) -> None:
    """Replace a constant by integers of few bits with a scale for each block, as files hold it.

    Runtimes look up what bytes say and multiply when they load the model, at any operator set from
    11 on.

    Args:
        value: A float32 constant; every reader reads the products.
        weight: The integers, a row for every index of `axes`.
        axes: Axes of the constant whose indices have scales of their own.
    """
    array = value.constant
    assert array is not None, value.name
    turn = (*axes, *(a for a in range(array.ndim) if a not in axes))
    shape = tuple(array.shape[a] for a in turn)
    recipe = Recipe()
    found = recipe.op("Reshape", weight.write(recipe), recipe.leaf(np.array(shape, np.int64)))
    if turn != tuple(range(array.ndim)):
        found = recipe.op("Transpose", found, perm=[turn.index(a) for a in range(array.ndim)])
    whole = weight.floats.reshape(shape).transpose([turn.index(a) for a in range(array.ndim)])
    edit.set_weight(value, np.ascontiguousarray(whole))
    value.set_packed(replace(recipe.packed(), is_final=True))  # no two blocks share a value


@dataclass(frozen=True)
class _OnGrid:
    """How files hold other numbers on such a grid; nothing where they are on none.

    Attributes:
        axes: Along which scales differ.
        name: What names of parts begin with.
    """

    axes: tuple[int, ...]
    name: str

    def __call__(self, array: np.ndarray) -> Packed | None:
        found = on_grid(array, self.axes) if array.dtype == np.float32 else None
        if found is None or not is_whole(found[0].reshape(-1)):
            return None
        return _packed(*found, self.axes, self.name)


def _packed(levels: np.ndarray, scales: np.ndarray, axes: tuple[int, ...], name: str) -> Packed:
    """Return the packed form of whole numbers of 8 bits, as float32, and their scales."""
    form = Scaled(Whole(levels.reshape(-1)), Plain(scales.reshape(-1)), scales.shape)
    made = written(form, levels.shape)
    parts = zip((leaf.name for leaf in made.leaves), ("q", "scale"), strict=True)
    made = packed.renamed(made, {old: f"{name}_{part}" for old, part in parts})
    return replace(made, again=_OnGrid(axes, name))
