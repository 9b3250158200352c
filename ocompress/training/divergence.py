"""How far the outputs of a student are from those of its teacher, differentiably."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ocompress.analysis.gradients.seeds import Currency, Joined, Seeding, choose
from ocompress.ir import Model

_TINY = 1e-7
_UNIT = 1e-3
_PAIR = 2

Divergence = Callable[[Tensor, Tensor], Tensor]
"""Takes what the student makes and what the teacher makes; returns one number."""


def divergences(
    model: Model, outputs: Mapping[str, np.ndarray], temperature: float
) -> dict[str, Divergence]:
    """Return the divergence of each output that has one, by what kind of output it is.

    Class scores and probabilities: Kullback-Leibler divergence at a temperature, times its square
    (Hinton et al., 2015), in nats, the mean over positions. Vectors of length one: one less the
    cosine. All else: squared error relative to the mean square.

    Args:
        model: The teacher.
        outputs: What it makes of a few samples; others than floats are left out.
        temperature: What scores are divided by.
    """
    floats = {n: a for n, a in outputs.items() if a.dtype.kind == "f" and a.size}
    return {
        name: _divergence(seeding, np.asarray(floats[name], np.float32), temperature)
        for name, seeding in choose(model, floats, {}).items()
    }


def _divergence(seeding: Seeding | Joined, output: np.ndarray, temperature: float) -> Divergence:
    if isinstance(seeding, Joined):
        return _joined(seeding, output, temperature)
    if seeding.currency in (Currency.LOGITS, Currency.PROBABILITIES):
        return _classes(seeding.axis, temperature, scores_of(seeding.currency))
    if seeding.currency is Currency.BERNOULLI:
        return _bernoulli
    if output.ndim == _PAIR and np.abs(np.linalg.norm(output, axis=1) - 1).max() < _UNIT:
        return lambda s, t: 1 - functional.cosine_similarity(s, t).mean()
    power = max(float(np.mean(np.square(output, dtype=np.float64))), _TINY**2)
    return lambda s, t: (s - t).square().mean() / power


def scores_of(currency: Currency) -> Callable[[Tensor], Tensor]:
    """Return what makes scores, whose softmax are probabilities, of scores or probabilities."""
    if currency is Currency.PROBABILITIES:
        return lambda p: torch.log(p.clamp_min(_TINY))
    return lambda x: x


def _classes(axis: int, temperature: float, scores: Callable[[Tensor], Tensor]) -> Divergence:
    def apply(student: Tensor, teacher: Tensor) -> Tensor:
        wanted = torch.log_softmax(scores(teacher) / temperature, axis)
        found = torch.log_softmax(scores(student) / temperature, axis)
        each = (wanted.exp() * (wanted - found)).sum(axis)
        return each.mean() * temperature**2

    return apply


def _bernoulli(student: Tensor, teacher: Tensor) -> Tensor:
    p, q = teacher.clamp(_TINY, 1 - _TINY), student.clamp(_TINY, 1 - _TINY)
    each = p * (p.log() - q.log()) + (1 - p) * ((1 - p).log() - (1 - q).log())
    return each.mean()


def _joined(seeding: Joined, output: np.ndarray, temperature: float) -> Divergence:
    places = [torch.from_numpy(np.asarray(c, np.int64)) for c in seeding.channels]
    parts = [
        _divergence(part, np.take(output, where, seeding.axis), temperature)
        for part, where in zip(seeding.parts, seeding.channels, strict=True)
    ]

    def apply(student: Tensor, teacher: Tensor) -> Tensor:
        axis = seeding.axis
        found = [
            part(student.index_select(axis, at), teacher.index_select(axis, at))
            for part, at in zip(parts, places, strict=True)
        ]
        return torch.stack(found).sum()

    return apply
