"""NaN and infinities, of which two models may have the same ones."""

from __future__ import annotations

import numpy as np


def kinds_differ(reference: np.ndarray, candidate: np.ndarray) -> np.ndarray:
    """Return where one is NaN or infinite and the other is not the same.

    A model may be made to give NaN (a mask over a whole row) or an infinity (a score that rules
    something out). The same kind in the same place is no error; anything else has no measure.

    Args:
        reference: Real numbers, any shape.
        candidate: The same shape.

    Returns:
        Booleans of that shape; False where both are finite.
    """
    whole = np.isfinite(reference) & np.isfinite(candidate)
    same = (reference == candidate) | (np.isnan(reference) & np.isnan(candidate))
    return np.asarray(~whole & ~same)
