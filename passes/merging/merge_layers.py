"""The family of merges."""

from __future__ import annotations

from ocompress.pipeline import Family, Numerics


class MergeLayers(Family):
    """Merge linear layers where one takes fewer multiplications.

    Runs its members until none of them changes anything. What they save is counted: no merge
    adds multiply-accumulates, those of averages included, none leaves the target's kernels more
    to do, and none adds bytes unless it saves multiplications. Merged weights are dense, so this
    comes before anything that makes zeros or integers.
    Numerics: rounding only.
    """

    name = "merge-layers"
    numerics = Numerics.ROUNDING
    members = (
        "infer-shapes",
        "swap-pool",
        "merge-chains",
        "merge-pool",
        "merge-sums",
        "merge-branches",
        "remove-dead-code",
    )
