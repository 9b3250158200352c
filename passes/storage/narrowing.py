"""Constants of wide types that a narrower one has as well."""

from __future__ import annotations

import numpy as np

_FEWEST = 64
_INTEGERS = (np.uint8, np.int8, np.uint16, np.int16, np.int32)
_NARROWER: dict[np.dtype[np.generic], tuple[type[np.generic], ...]] = {
    np.dtype(np.float64): (np.float32,),
    np.dtype(np.int64): _INTEGERS,
    np.dtype(np.int32): _INTEGERS[:-1],
}
"""Types that numbers of wide ones may have as well, the best first."""


def narrowed(array: np.ndarray) -> np.ndarray | None:
    """Return an array in the narrowest type that has all of it to the bit; None if none does.

    Only wide types are narrowed: float32 has forms of its own for what fewer bits hold.
    """
    for dtype in _NARROWER.get(array.dtype, ()):
        if _has_all(array.reshape(-1)[:_FEWEST], dtype) and _has_all(array, dtype):
            return array.astype(dtype)
    return None


def _has_all(array: np.ndarray, dtype: type[np.generic]) -> bool:
    with np.errstate(all="ignore"):
        return array.astype(dtype).astype(array.dtype).tobytes() == array.tobytes()
