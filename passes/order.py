"""Which passes must not come later than others: what each declares as `after`.

A pass that comes too late would undo another, or no longer find what it looks for. Passes that
merely do better the other way round stay free: the zeros of `prune` survive the fits of
`prune-channels`, say, and layers that `prune-layers` leaves in a row may still be merged.
"""

from __future__ import annotations

MERGES = ("merge-layers",)
REMOVALS = ("prune-channels", "prune-heads", "prune-layers")
REPLACEMENTS = ("factorize", "separable", "group", "squeeze", "split")

TO_REPLACE = MERGES
"""Merging layers would undo that they were split."""
TO_ZERO = (*MERGES, *REPLACEMENTS)
"""Sums and products of weights have no zeros left."""
TO_EQUALIZE = (*MERGES, *REPLACEMENTS)
"""New layers have channels of their own."""
TO_QUANTIZE = (*MERGES, *REPLACEMENTS, *REMOVALS, "prune", "equalize")
"""All these change float weights, of which quantization leaves none."""
TO_PACK = (
    *TO_QUANTIZE,
    *("quant", "quant-dynamic", "quant-weights"),
    *("entropy", "cluster", "codebook", "binarize", "circulant", "fastfood", "hash"),
    *("random-code", "tune"),
)
"""What changes weights afterwards no longer finds them packed, and leaves them plain."""
