"""Training of a model to do what another one does, without labels."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from ocompress.io.dataset import Dataset
from ocompress.io.holdout import hold_out
from ocompress.ir import Model
from ocompress.runtime import Session, host_cores
from ocompress.stopping import EarlyEnd, early_end
from ocompress.training.lessons import Batch, altered, floats_of, learn
from ocompress.training.settings import Settings, Tuned
from ocompress.training.thinning import Thinning
from ocompress.training.trained import TrainedModel

_SHARE = 0.1
"""Part of the samples that says when to stop."""
_STEPS = 2000
"""Steps where nobody says how many epochs, and how many of those there are."""
_LEAST_EPOCHS, _MOST_EPOCHS = 4, 100
_BATCHES = 8
"""Batches of an epoch, at least; few samples come in smaller ones."""
_SMALL_BATCH = 8
_CHECKS = 25
"""How often the held-out samples are looked at, at most."""
_ASTRAY = 2.0
"""Times the best divergence from which on training goes back to it, at a lower rate."""
_SLOWER = 0.3
_NOTHING = 1e-7
"""Divergence of a model that is its teacher, but for rounding."""
_OFTEN = 10
"""Epochs beyond which samples are mixed. LeNet-300-100 with 5 % of its weights, divergence on
held-out samples without and with mixing: 0.0541 and 0.0477 (740 samples, 100 epochs), 0.0474 and
0.0424 (9,000, 20), but 0.0477 and 0.0520 (54,000, 5)."""
_CALM = {"session.intra_op.allow_spinning": "0"}
_WARM = 0.05
"""Part of the steps in which the rate rises."""

Report = Callable[[str, int, int], None]


def distill(
    model: Model,
    teacher: Model,
    data: Dataset,
    settings: Settings,
    report: Report,
    excluded: Collection[str] = (),
) -> Tuned:
    """Train the weights of a model so that its outputs come near those of another.

    Args:
        model: The student after `canonicalize`; not changed.
        teacher: A model of the same inputs and outputs.
        data: Inputs; labels are not read.
        settings: How.
        report: Told how far it is.
        excluded: Initializers that keep their values.

    Raises:
        RuntimeFailureError: If ONNX Runtime cannot run one of the models.
    """
    with _threads(), early_end() as ending:
        return _Training(model, teacher, data, settings, report, excluded).run(ending)


class _Best:
    """The best weights that held-out samples have seen."""

    def __init__(self, student: TrainedModel, distance: float) -> None:
        self._student, self.distance = student, distance
        self.kept: dict[str, np.ndarray] = {}
        self.state = student.state()

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


class _Course:
    """Steps of Adam, whose rate rises shortly and then falls as a cosine does."""

    def __init__(self, student: TrainedModel, total: int, rate: float) -> None:
        self._student, self.total, self._rate = student, total, rate
        self.optimizer, self._sizes = student.optimizer()
        self.done, self.begun = 0, time.monotonic()

    def step(self, batch: Batch) -> float:
        """Make a step; return the loss before it."""
        for group, size in zip(self.optimizer.param_groups, self._sizes, strict=True):
            group["lr"] = self._rate * size * _schedule(self.done / self.total)
        self.done += 1
        return self._student.step(batch, self.optimizer)

    def restart(self, best: _Best) -> None:
        """Go back to the best, and on at a lower rate with an optimizer that knows nothing."""
        self._rate *= _SLOWER
        self._student.restore(best.state)
        self.optimizer, _ = self._student.optimizer()

    def line(self, loss: float, best: float) -> str:
        """Return how far it is, for people."""
        part = self.done / self.total
        left = (time.monotonic() - self.begun) * (1 / part - 1)
        held = f", held-out {best:.3g}" if math.isfinite(best) else ""
        return f"tune: loss {loss:.3g}{held}, {int(left) // 60}:{int(left) % 60:02d} left"


def _schedule(part: float) -> float:
    """Return the share of the highest rate."""
    if part < _WARM:
        return part / _WARM
    return 0.5 * (1 + math.cos(math.pi * (part - _WARM) / (1 - _WARM)))


class _Training:
    def __init__(
        self,
        model: Model,
        teacher: Model,
        data: Dataset,
        settings: Settings,
        report: Report,
        excluded: Collection[str],
    ) -> None:
        self._settings, self._report = settings, report
        self._teacher = session = Session(teacher, threads=0, config=_CALM)
        split = hold_out(data, share=_SHARE, seed=settings.seed)
        self._fit, self._held = (
            learn(teacher, part, session) for part in (split.fit, split.held_out)
        )
        few = max(self._fit.samples // _BATCHES, _SMALL_BATCH)
        self._batch = min(settings.batch, few)
        first = next(self._held.batches(settings.batch, None))
        self._student = TrainedModel(model, teacher, first, settings, excluded)
        thinned = self._student.thinned() if settings.sparsity is not None else {}
        self._thinning = Thinning(thinned, settings.sparsity or 0.0)

    def run(self, ending: EarlyEnd) -> Tuned:
        """Train, and return the best that was seen."""
        steps_each = self._fit.count(self._batch)
        epochs = self._settings.epochs
        if epochs is None:
            epochs = min(max(_STEPS // steps_each, _LEAST_EPOCHS), _MOST_EPOCHS)
        forms, thin = self._student.forms, not self._thinning.is_done
        told = Tuned(
            forms={n: (f.name, f.value().numel(), f.count) for n, f in forms.items()},
            epochs=epochs,
            samples=(self._fit.samples, self._held.samples),
            left_out=self._fit.left_out + self._held.left_out,
            stuck=self._student.network.stuck,
            unknown=self._student.unknown,
        )
        if not forms or not self._student.losses or not epochs:
            return told
        before = self._distance()
        if before <= _NOTHING and not thin:
            return replace(told, before=before, after=before)
        found = self._train(before, steps_each, epochs, ending)
        zeros = self._thinning.zeros if thin else None
        return replace(told, before=before, zeros=zeros, ended_early=ending.is_asked, **found)

    def _train(
        self, before: float, steps_each: int, epochs: int, ending: EarlyEnd
    ) -> dict[str, Any]:
        """Train for some epochs; return the best weights and what became of the divergence."""
        best = _Best(self._student, before if self._thinning.is_done else math.inf)
        course = _Course(self._student, steps_each * epochs, self._settings.rate)
        every = max(1, -(-epochs // _CHECKS))
        for epoch in range(1, epochs + 1):
            self._epoch([self._settings.seed, epoch], epochs, course, best, ending)
            late = self._is_late(course.begun) or ending.is_asked
            if late:
                self._thinning.finish(course.optimizer)
            if self._thinning.is_done and (late or epoch == epochs or not epoch % every):
                found = self._distance()
                if not best.offer(found) and not found < _ASTRAY * best.distance:
                    course.restart(best)  # it may be no number at all
            if late:
                break
        return {"values": best.kept, "after": best.distance, "steps": course.done}

    def _epoch(
        self, seed: list[int], epochs: int, course: _Course, best: _Best, ending: EarlyEnd
    ) -> None:
        rng = np.random.default_rng(seed)
        for lesson in self._fit.batches(self._batch, rng):
            loss = course.step(self._altered(lesson, epochs, rng))
            self._thinning.step(course.done, course.total, course.optimizer)
            self._report(course.line(loss, best.distance), course.done, course.total)
            if ending.is_asked:
                break

    def _altered(self, batch: Batch, epochs: int, rng: np.random.Generator) -> Batch:
        """Return the batch, or other samples that are made of it, with what the teacher says."""
        wanted, augment = self._settings.mixup, self._settings.augment
        mixes = self._fit.can_be_mixed and (epochs > _OFTEN if wanted is None else wanted)
        if not mixes and not augment:
            return batch
        feeds = altered(batch[0], rng, mixes=mixes, augment=augment)
        return feeds, floats_of(self._teacher.run(feeds))

    def _distance(self) -> float:
        return self._student.distance(self._held, max(self._batch, self._settings.batch))

    def _is_late(self, begun: float) -> bool:
        limit = self._settings.seconds
        return bool(limit) and time.monotonic() - begun > limit


@contextlib.contextmanager
def _threads() -> Iterator[None]:
    """Let PyTorch use the cores that this process may use, fewer if its environment says so."""
    before = torch.get_num_threads()
    torch.set_num_threads(min(host_cores(), before))
    try:
        yield
    finally:
        torch.set_num_threads(before)
