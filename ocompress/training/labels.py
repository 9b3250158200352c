"""Labels beside what the teacher says: the cross entropy of the output that they belong to."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ocompress.analysis.gradients.seeds import Currency, Seeding, choose
from ocompress.errors import DataError
from ocompress.io.dataset import Dataset
from ocompress.ir import Model
from ocompress.training.divergence import Divergence, scores_of
from ocompress.training.lessons import LABELS, Batch, Lessons

_KINDS = (Currency.LOGITS, Currency.PROBABILITIES)


@dataclass(frozen=True)
class LabelledOutput:
    """The output that labels belong to.

    Attributes:
        name: Its name.
        axis: Axis of its classes.
        classes: How many there are.
        loss: Cross entropy of scores and of the shares that labels are as, one of each class, mean
            over the labels that are known.
    """

    name: str
    axis: int
    classes: int
    loss: Divergence

    def taught(self, lessons: Lessons, data: Dataset) -> Lessons:
        """Return lessons with labels, as shares of classes, beside what the teacher makes.

        Args:
            lessons: What the teacher makes of some data.
            data: These data, with labels.

        Raises:
            DataError: If rows of the output are not samples.
        """
        assert data.labels is not None
        parts: list[Batch] = []
        start, rows = 0, sum(len(wanted[self.name]) for _, wanted in lessons.parts)
        if rows + lessons.left_out != len(data.labels):
            msg = (
                f"pass 'tune': output {self.name!r} has {rows} rows for {lessons.samples} samples, "
                "so labels do not belong to them; leave alpha out"
            )
            raise DataError(msg)
        for part, (feeds, wanted) in enumerate(lessons.parts):
            count = len(wanted[self.name])
            places = lessons.places[part] if lessons.places else slice(start, start + count)
            own = data.labels[places]
            parts.append((feeds, {**wanted, LABELS: self._shares(own)}))
            start += count
        return replace(lessons, parts=parts)

    def _shares(self, labels: np.ndarray) -> np.ndarray:
        """Return one at the class of each label along the axis of classes; zeros for unknown."""
        found = np.stack([labels == place for place in range(self.classes)], axis=self.axis)
        return found.astype(np.float32)


def labelled_output(teacher: Model, data: Dataset, batch: Batch) -> LabelledOutput:
    """Return the output that labels belong to.

    Args:
        teacher: The model.
        data: Has the labels; a negative one is unknown.
        batch: Some inputs, and what the teacher makes of them.

    Raises:
        DataError: If there are no labels, or not one output of scores to which they belong.
    """
    labels = data.labels
    if labels is None:
        msg = "pass 'tune': alpha needs labels; give some with --labels or beside the inputs"
        raise DataError(msg)
    outputs = {n: a for n, a in batch[1].items() if a.size}
    found = [
        _output(name, seeding, outputs[name])
        for name, seeding in choose(teacher, outputs, {}).items()
        if isinstance(seeding, Seeding) and seeding.currency in _KINDS
        if np.delete(outputs[name].shape, seeding.axis)[1:].tolist() == list(labels.shape[1:])
    ]
    shown = f"labels are {labels.dtype} of the shape {list(labels.shape)}"
    if len(found) != 1 or labels.dtype.kind not in "iu":
        msg = (
            f"pass 'tune': alpha needs one output of class scores, with a decision for each label; "
            f"there are {len(found)}, and {shown}; leave alpha out"
        )
        raise DataError(msg)
    if labels.max(initial=0) >= found[0].classes:
        msg = (
            f"pass 'tune': labels go up to {labels.max()}, but output {found[0].name!r} has "
            f"{found[0].classes} classes"
        )
        raise DataError(msg)
    return found[0]


def _output(name: str, seeding: Seeding, output: np.ndarray) -> LabelledOutput:
    axis, scores = seeding.axis % output.ndim, scores_of(seeding.currency)

    def loss(student: Tensor, shares: Tensor) -> Tensor:
        each = torch.log_softmax(scores(student), axis) * shares
        return -each.sum() / shares.sum().clamp_min(1e-6)

    return LabelledOutput(name, axis, output.shape[axis], loss)
