"""Taking whole heads out of attentions."""

from __future__ import annotations

from ocompress.analysis.channels import ChannelGroups, Group
from ocompress.pipeline import Context
from passes.pruning.prune_channels import PruneChannels


class PruneHeads(PruneChannels):
    """Remove whole attention heads, and refit the layers after them.

    Before: twelve heads of 32 channels between the projections of an attention
    After:  nine heads of 32 channels

    The same as `prune-channels` with heads for channels. A head takes with it its part of the
    projections for queries, keys and values and its rows of the output projection, whose other
    rows are refitted to compensate. Order, budget and options are the same; any number of heads
    may remain.

    Leaves alone: what `prune-channels` leaves alone, under the same codes; channels that are not
    heads (other-channels). Where the extents of batch and sequence are symbols, an exported
    Reshape may not tell the number of heads: fix them with the exporter.
    Numerics: lossy.
    Reference: Michel et al., Are Sixteen Heads Really Better than One?, 2019; Kurtic et al.,
    ZipLM, 2023.
    """

    name = "prune-heads"

    def groups_asked(self) -> ChannelGroups:
        """Return the question for whole heads."""
        return ChannelGroups(split="outer")

    def liked(self, ctx: Context) -> int:
        """Leave any number of heads: their extents are what kernels see."""
        return 1

    def follows(self, group: Group) -> str | None:
        """Say why channels are no heads, None if they are."""
        rows = [len(c.channel) // group.size for c in group.consumers]
        softmax = any(n.is_op("Softmax") for p in group.values for n, _ in p.value.users)
        if softmax and rows and min(rows) > 1:
            return None
        return "its channels are not the heads of an attention"
