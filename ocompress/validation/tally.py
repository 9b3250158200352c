"""What of an original's output is found again in a candidate's: a ratio of sums over all samples.

Texts, masks, boxes and numbers are counted in parts that are there or not: characters, pixels,
detections, sizes. What is lost is the sum of what differs over the sum of all there is, as word
error rates, intersections over unions and F1 are computed of whole data sets: an image with a
speck of a mask counts as much as its speck.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np


@dataclass(frozen=True)
class Tally:
    """Counts of one feed, [cells, rows]: a cell is a class or a part, a row a sample.

    Attributes:
        lost: What differs, at most `whole`, except for relative errors.
        whole: All there is in either output.
        own: What the original has. A cell of which it has nothing in any sample does not count.
    """

    lost: np.ndarray
    whole: np.ndarray
    own: np.ndarray

    @staticmethod
    def of_nothing(own: np.ndarray) -> Tally:
        """Return the counts where a candidate has nothing of the original's, [cells, rows]."""
        return Tally(own, own, own)


class Matching(Protocol):
    """Tells how much of an original's output is found again in a candidate's."""

    is_bounded: bool
    """Whether nothing more than all can be lost."""

    def prepare(self, output: np.ndarray) -> np.ndarray:
        """Return what an output is compared by.

        Args:
            output: What a model made, [samples, ...].
        """
        ...

    def own(self, reference: np.ndarray, samples: int) -> np.ndarray:
        """Return how much there is in the original's output, [cells, rows].

        Args:
            reference: What `prepare` made of it.
            samples: Samples of the feed.
        """
        ...

    def compare(self, reference: np.ndarray, candidate: np.ndarray, samples: int) -> Tally:
        """Count what two outputs have in common.

        Args:
            reference: What `prepare` made of the original's output.
            candidate: The same of the candidate's; its shape may differ.
            samples: Samples of the feed.
        """
        ...
