"""The steps of a training, the best that came of them, and how to go on after an interruption."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

import numpy as np
import torch

from ocompress.training.lessons import Batch
from ocompress.training.settings import Kept
from ocompress.training.settling import Settling
from ocompress.training.thinning import Thinning
from ocompress.training.trained import TrainedModel

_SLOWER = 0.3
_ASTRAY = 2.0
"""Times the best divergence from which on training goes back to it, at a lower rate."""
_TRIAL = 0.2
"""Part of the steps after which weights that training begins with have to be better than those that
came in."""
_WARM = 0.05
"""Part of the steps in which the rate rises."""
_MOMENTS = ("exp_avg", "exp_avg_sq", "step")
_SAVE_SECONDS = 30.0
"""Time between two checkpoints, at least."""

Arrays = tuple[np.ndarray, ...]


class Checkpoints:
    """Where the state of a training is kept, so that a later run goes on where it ended."""

    def __init__(self, kept: Kept) -> None:
        """Start with none saved."""
        self._kept, self._saved = kept, 0.0

    def load(self) -> Arrays | None:
        """Return what is kept, None if nothing is."""
        return self._kept.load()

    def is_due(self) -> bool:
        """Whether the last checkpoint is some time ago."""
        return time.monotonic() - self._saved > _SAVE_SECONDS

    def put(self, arrays: Arrays) -> None:
        """Keep the state there is."""
        self._kept.save(arrays)
        self._saved = time.monotonic()


class Best:
    """The best weights that held-out samples have seen."""

    def __init__(
        self,
        student: TrainedModel,
        distance: float,
        begun: float = 0.0,
        came: list[np.ndarray] | None = None,
    ) -> None:
        """Start with what came in.

        Args:
            student: What is trained.
            distance: Of the weights that came in; infinity if they do not count.
            begun: Of the weights that training begins with, if it is larger.
            came: State of the student that came in, where training begins with another.
        """
        self._student, self.distance, self._begun = student, distance, begun
        self.kept: dict[str, np.ndarray] = {}
        self.state = student.state()
        self.came = came

    def turns_back(self, part: float) -> bool:
        """Whether to go on from what came in: what training began with did not pay in time.

        Args:
            part: How far training is.
        """
        if self.came is None or part < _TRIAL:
            return False
        came, self.came = self.came, None
        if self.kept:
            return False
        self.state, self._begun = came, 0.0
        return True

    def is_far(self, distance: float) -> bool:
        """Whether weights are so much worse than the best that training has gone astray."""
        known = self.distance if self.kept else max(self.distance, self._begun)
        return not distance < _ASTRAY * known  # it may be no number at all

    def offer(self, distance: float) -> bool:
        """Keep the weights there are if they are better than the best; say whether they are."""
        if not distance < self.distance:
            return False
        self.distance, self.kept, self.state = (
            distance,
            self._student.written(),
            self._student.state(),
        )
        return True


class Course:
    """Steps of Adam, whose rate rises shortly and then falls as a cosine does."""

    def __init__(
        self, student: TrainedModel, total: int, rate: float, seconds: float = 0.0
    ) -> None:
        """Start.

        Args:
            student: What is trained.
            total: Steps there will be.
            rate: Highest rate, in proportion to the size of each weight.
            seconds: Time after which training ends; 0 for no limit.
        """
        self._student, self.total, self._rate, self._limit = student, total, rate, seconds
        self.optimizer, self._sizes = student.optimizer()
        self.done, self.begun, self._begun_at = 0, time.monotonic(), 0.0

    @property
    def part(self) -> float:
        """How far training is, from 0 to 1: of its steps, or of its time if that is more."""
        spent = (time.monotonic() - self.begun) / self._limit if self._limit else 0.0
        return min(max(self.done / self.total, spent), 1.0)

    def step(self, batch: Sequence[Batch]) -> float:
        """Make a step with a batch, in pieces; return the loss before it."""
        part = self.part
        for group, size in zip(self.optimizer.param_groups, self._sizes, strict=True):
            group["lr"] = self._rate * size * _schedule(part)
        self.done += 1
        return self._student.step(batch, self.optimizer)

    def restart(self, best: Best) -> None:
        """Go back to the best, and on at a lower rate with an optimizer that knows nothing."""
        self._rate *= _SLOWER
        self._student.restore(best.state)
        self.optimizer, _ = self._student.optimizer()

    def state(self, best: Best, thinning: Thinning, settling: Settling) -> Arrays:
        """Return all that going on takes, as arrays."""
        on_trial = best.came is not None
        numbers = [self.done, self.total, self._rate, best.distance, on_trial, thinning.is_done]
        moments = [
            np.asarray(self.optimizer.state.get(leaf.tensor, {}).get(name, np.zeros(0)), np.float32)
            for leaf in self._student.leaves
            for name in _MOMENTS
        ]
        masks = [form.leaves[0].mask for form in thinning.forms]
        gone = [np.zeros(0, bool) if m is None else m.numpy() for m in masks]
        whole = [np.asarray(leaf.settled) for leaf in settling.leaves]
        names = sorted(best.kept)
        kept = [best.kept[name] for name in names]
        now = self._student.state()
        weights = (*now, *best.state, *moments, *gone, *whole, *kept)
        return (np.array(numbers), np.array(names), *weights)

    def resume(self, arrays: Arrays, best: Best, thinning: Thinning, settling: Settling) -> None:
        """Go on from what `state` returned of the same training."""
        numbers, names, *rest = arrays
        self.done, self._rate = int(numbers[0]), float(numbers[2])
        self._begun_at = self.done / self.total
        best.distance = float(numbers[3])
        best.came = best.came if numbers[4] else None
        thinning.is_done = bool(numbers[5])
        leaves = self._student.leaves
        parts = iter(rest)
        self._student.restore([next(parts) for _ in leaves])
        best.state = [next(parts) for _ in leaves]
        for leaf in leaves:
            moments = [torch.from_numpy(np.array(next(parts))) for _ in _MOMENTS]
            if moments[0].numel():
                known = zip(_MOMENTS, moments, strict=True)
                self.optimizer.state[leaf.tensor] = dict(known)
        for form in thinning.forms:
            mask = next(parts)
            if mask.size:
                form.keep(torch.from_numpy(np.array(mask)))
        for leaf in settling.leaves:
            leaf.settle(torch.from_numpy(np.array(next(parts))))
        best.kept = dict(zip(names.tolist(), parts, strict=True))

    def line(self, loss: float, best: float) -> str:
        """Return how far it is, for people."""
        part = self.done / self.total
        taken = max(part - self._begun_at, 1e-9)
        left = (time.monotonic() - self.begun) * (1 - part) / taken
        held = f", held-out {best:.3g}" if math.isfinite(best) else ""
        return f"tune: loss {loss:.3g}{held}, {int(left) // 60}:{int(left) % 60:02d} left"


def _schedule(part: float) -> float:
    """Return the share of the highest rate."""
    if part < _WARM:
        return part / _WARM
    return 0.5 * (1 + math.cos(math.pi * (part - _WARM) / (1 - _WARM)))
