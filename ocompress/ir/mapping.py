"""Arrays that are mapped files."""

from __future__ import annotations

import mmap

import numpy as np


def release(array: np.ndarray | memoryview) -> None:
    """Let go of the memory of a mapped array of any shape; it is read again when needed."""
    base: object = array
    while isinstance(base, np.ndarray):
        base = base.base
    if isinstance(base, memoryview):
        base = base.obj
    if isinstance(base, mmap.mmap) and hasattr(base, "madvise"):
        base.madvise(mmap.MADV_DONTNEED)
