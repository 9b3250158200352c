"""Training of a model to do what another one does."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from ocompress.io.holdout import Split
from ocompress.ir import Model
from ocompress.runtime import Session, host_cores
from ocompress.stopping import EarlyEnd, early_end
from ocompress.training.course import Best, Checkpoints, Course
from ocompress.training.labels import labelled_output
from ocompress.training.lessons import LABELS, Batch, altered, floats_of, learn
from ocompress.training.settings import Keeping, Settings, Tuned
from ocompress.training.settling import Settling
from ocompress.training.thinning import Thinning
from ocompress.training.trained import TrainedModel

_STEPS = 2000
"""Steps where nobody says how many epochs, and how many of those there are."""
_LEAST_EPOCHS, _MOST_EPOCHS = 4, 100
_BATCHES = 8
"""Batches of an epoch, at least; few samples come in smaller ones."""
_SMALL_BATCH = 8
_CHECKS = 25
"""How often the held-out samples are looked at, at most."""
_NOTHING = 1e-7
"""Divergence of a model that is its teacher, but for rounding."""
_OFTEN = 10
"""Epochs beyond which samples are mixed. LeNet-300-100 with 5 % of its weights, divergence on
held-out samples without and with mixing: 0.0541 and 0.0477 (740 samples, 100 epochs), 0.0474 and
0.0424 (9,000, 20), but 0.0477 and 0.0520 (54,000, 5)."""
_CALM = {"session.intra_op.allow_spinning": "0"}

Report = Callable[[str, int, int], None]


def distill(
    model: Model,
    teacher: Model,
    data: Split,
    settings: Settings,
    report: Report,
    excluded: Collection[str] = (),
    keeping: Keeping | None = None,
    earlier: Sequence[Model] = (),
) -> Tuned:
    """Train the weights of a model so that its outputs come near those of another.

    Args:
        model: The student after `canonicalize`; not changed.
        teacher: A model of the same inputs and outputs.
        data: Inputs to fit to, and others that say when to stop and which weights are best, which
            nothing should have been fitted to; labels are read where `alpha` says that they count.
        settings: How.
        report: Told how far it is.
        excluded: Initializers that keep their values.
        keeping: Where the state is kept after epochs, and what the teacher makes of the data.
        earlier: Models that the student was made from, the oldest first: signs start from what
            weights were before they had any.

    Raises:
        DataError: If labels are to count and there are none.
        RuntimeFailureError: If ONNX Runtime cannot run one of the models.
    """
    with _threads(), early_end() as ending:
        training = _Training(model, teacher, data, settings, report, excluded, keeping)
        checkpoints = None if keeping is None else Checkpoints(keeping.state)
        return training.run(ending, checkpoints, earlier)


class _Training:
    def __init__(
        self,
        model: Model,
        teacher: Model,
        data: Split,
        settings: Settings,
        report: Report,
        excluded: Collection[str],
        keeping: Keeping | None,
    ) -> None:
        self._settings, self._report = settings, report
        self._teacher = session = Session(teacher, threads=0, config=_CALM)
        known = (None, None) if keeping is None else (keeping.fit, keeping.held_out)
        self._fit = learn(teacher, data.fit, session, known[0])
        self._held = learn(teacher, data.held_out, session, known[1])
        labelled = None
        if settings.alpha:
            labelled = labelled_output(teacher, data.fit, self._fit.parts[0])
            self._fit = labelled.taught(self._fit, data.fit)
            self._held = labelled.taught(self._held, data.held_out)
        few = max(self._fit.samples // _BATCHES, _SMALL_BATCH)
        self._batch = min(settings.batch, few)
        first, *_ = next(self._held.batches(settings.batch, None))
        infinite = self._fit.infinite() | self._held.infinite()
        self._student = TrainedModel(model, teacher, first, settings, excluded, labelled, infinite)
        thinned = self._student.thinned() if settings.sparsity is not None else {}
        self._thinning = Thinning(thinned, settings.sparsity or 0.0)
        levels = self._student.unrounded() if settings.moves_levels else ()
        self._settling = Settling(levels, self._student.wavering())

    def run(
        self, ending: EarlyEnd, checkpoints: Checkpoints | None, earlier: Sequence[Model]
    ) -> Tuned:
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
            unlearned=self._student.unlearned,
            compares=bool(self._student.losses),
        )
        if not forms or not self._student.losses or not epochs:
            return told
        before = self._distance()
        if before <= _NOTHING and not thin:
            return replace(told, before=before, after=before)
        came = self._student.state()
        elsewhere = self._student.begin_at(earlier)
        begun = self._distance() if elsewhere else before
        best = Best(self._student, math.inf if thin else before, begun, came if elsewhere else None)
        found = self._train(best, steps_each, epochs, ending, checkpoints)
        zeros = self._thinning.zeros if thin else None
        return replace(told, before=before, zeros=zeros, ended_early=ending.is_asked, **found)

    def _train(
        self,
        best: Best,
        steps_each: int,
        epochs: int,
        ending: EarlyEnd,
        checkpoints: Checkpoints | None,
    ) -> dict[str, Any]:
        """Train for some epochs; return the best weights and what became of the divergence."""
        thinning, settling = self._thinning, self._settling
        settings = self._settings
        course = Course(self._student, steps_each * epochs, settings.rate, settings.seconds)
        known = checkpoints.load() if checkpoints is not None else None
        if known is not None:
            course.resume(known, best, thinning, settling)
        every = max(1, -(-epochs // _CHECKS))
        for epoch in range(course.done // steps_each + 1, epochs + 1):
            self._epoch([self._settings.seed, epoch], epochs, course, best, ending)
            late = self._is_late(course.begun) or ending.is_asked
            if late:
                thinning.finish(course.optimizer)
                settling.finish(course.optimizer)
            is_whole = thinning.is_done and settling.is_whole
            if is_whole and (late or epoch == epochs or not epoch % every):
                self._look(course, best)
            if late:
                break
            if checkpoints is not None and (checkpoints.is_due() or epoch == epochs):
                checkpoints.put(course.state(best, thinning, settling))
        return {"values": best.kept, "after": best.distance, "steps": course.done}

    def _look(self, course: Course, best: Best) -> None:
        """Keep the weights if held-out samples come out better; go back if far worse."""
        found = self._distance()
        is_better = best.offer(found)
        if best.turns_back(course.part) or (not is_better and best.is_far(found)):
            course.restart(best)

    def _epoch(
        self, seed: list[int], epochs: int, course: Course, best: Best, ending: EarlyEnd
    ) -> None:
        rng = np.random.default_rng(seed)
        for lesson in self._fit.batches(self._batch, rng):
            loss = course.step([self._altered(piece, epochs, rng) for piece in lesson])
            for change in (self._thinning, self._settling):
                change.step(course.done, course.part, course.optimizer)
            self._report(course.line(loss, best.distance), course.done, course.total)
            if ending.is_asked:
                break

    def _altered(self, batch: Batch, epochs: int, rng: np.random.Generator) -> Batch:
        """Return the batch, or other samples that are made of it, with what the teacher says."""
        wanted, augment = self._settings.mixup, self._settings.augment
        mixes = self._fit.can_be_mixed and (epochs > _OFTEN if wanted is None else wanted)
        if not mixes and not augment:
            return batch
        labels = {name: array for name, array in batch[1].items() if name == LABELS}
        feeds = altered({**batch[0], **labels}, rng, mixes=mixes, augment=augment)
        labels = {name: feeds.pop(name) for name in labels}
        return feeds, {**floats_of(self._teacher.run(feeds)), **labels}

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
