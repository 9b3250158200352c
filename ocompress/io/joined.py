"""Arrays of several files as one array, joined along axis 0."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ocompress.io.arrays import ArraySource


@dataclass(frozen=True)
class JoinedArray:
    """Arrays that agree in everything but the extent of axis 0."""

    parts: Sequence[ArraySource]

    @property
    def shape(self) -> tuple[int, ...]:
        """Extents of the whole."""
        return (sum(p.shape[0] for p in self.parts), *self.parts[0].shape[1:])

    @property
    def dtype(self) -> np.dtype:
        """Element type."""
        return self.parts[0].dtype

    def whole(self) -> np.ndarray:
        """Read all parts."""
        return np.concatenate([p.whole() for p in self.parts])

    def rows(self, group: int, stop: int) -> Iterator[np.ndarray]:
        """Read axis 0 up to `stop` in groups that may reach over several parts."""
        held: list[np.ndarray] = []
        count, left = 0, stop
        for part in self.parts:
            take = min(part.shape[0], left)
            left -= take
            for piece in part.rows(group, take):
                held.append(piece)
                count += len(piece)
                while count >= group:
                    joined = np.concatenate(held)
                    yield joined[:group]
                    held, count = [joined[group:]], count - group
        if count:
            yield np.concatenate(held)


def join(files: Sequence[Mapping[str, ArraySource]]) -> dict[str, ArraySource] | None:
    """Join the arrays of several files by name.

    Returns:
        None if the files hold different names, types or shapes.
    """
    first = files[0]
    for arrays in files:
        if set(arrays) != set(first):
            return None
        for name, array in arrays.items():
            if not array.shape or not first[name].shape:
                return None
            if array.shape[1:] != first[name].shape[1:] or array.dtype != first[name].dtype:
                return None
    return {name: JoinedArray([arrays[name] for arrays in files]) for name in first}
