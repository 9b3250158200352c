"""Expected loss of accuracy and of agreement, with most of the noise of rare flips averaged out.

Of a few hundred samples only a handful is decided otherwise by a good candidate, so the mean of
their losses says little: none of 200 may well be five of the next 200. What the candidate's scores
are off by is seen on every sample, though. So the margin of each sample meets the errors of all
those that the original is about as sure of, not only its own. As far as errors and margins are
independent among such samples (a slope of all scores is not, and is taken off), the mean over pairs
expects the same loss as that over samples. It is a U-statistic of degree two (Hoeffding, A class of
statistics with asymptotically normal distribution, 1948), less noisy than the plain mean. As far as
they depend on each other, it is off; so it is taken no farther from the plain mean than noise
explains, and with many samples the two are one (limited translation: Efron and Morris, Limiting the
risk of Bayes and empirical Bayes estimators, 1971).

Margins are the original's own: those of samples that a candidate was fitted to are as good as any.
Only its errors have to be those of samples that nothing was fitted to.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from ocompress.validation.intervals import wilson
from ocompress.validation.result import Interval

_RANKS = 8
"""Classes that may win in place of the original's choice, likeliest first, one by one."""
_PARTNERS = 32
"""Samples whose errors each margin meets. Fewer average less; many are no longer as sure."""
_NOISE = 2.0
"""Standard errors of the plain mean that the mean over pairs may be away from it."""
_MOST = 1 << 16
"""Samples beyond which flips are frequent enough to count them as they are."""
_TINY, _IMPOSSIBLE = 1e-30, 1e-6


@dataclass
class Exchange:
    """Pairs of margins and errors of one output that decides once for each sample."""

    _worth: list[np.ndarray] = field(default_factory=list)
    _scores: list[np.ndarray] = field(default_factory=list)
    _others: list[np.ndarray] = field(default_factory=list)
    _beside: list[np.ndarray] = field(default_factory=list)
    _samples: int = 0
    _usable: bool = True

    def update(
        self, p: np.ndarray, scores: np.ndarray | None, temperature: float, samples: int
    ) -> None:
        """Take in one feed.

        Args:
            p: Probabilities of the original, [samples, ..., classes].
            scores: Scores of the candidate, of which the highest decides, in the same shape; None
                if there are none.
            temperature: What the original's scores were divided by to make `p`.
            samples: Samples of the feed; where there are other than so many decisions, flips are
                counted as they are.
        """
        self._samples += samples
        classes = p.shape[-1] if p.ndim else 0
        fits = scores is not None and classes > 1 and p.size == samples * classes
        if not fits or self._samples > _MOST:
            self._drop()
        if scores is None or not self._usable:
            return
        p, scores = p.reshape(samples, classes), scores.reshape(samples, classes)
        order, ranked, own = _ranked(p, temperature)
        other = np.take_along_axis(scores, order, 1).astype(np.float64)
        if classes > _RANKS:  # the best of all others is one rank more
            other = np.hstack([other[:, :_RANKS], other[:, _RANKS:].max(1, keepdims=True)])
        if not (np.isfinite(own).all() and np.isfinite(other).all()):
            self._drop()
            return
        self._worth.append(ranked)
        self._scores.append(own.astype(np.float32))
        self._others.append(other.astype(np.float32))

    def watch(self, p: np.ndarray, temperature: float, samples: int) -> None:
        """Take in the original's probabilities on samples that the candidate does not run on.

        Args:
            p: Probabilities of the original, [samples, ..., classes].
            temperature: As in `update`.
            samples: Samples of the feed.
        """
        if self._usable and p.ndim and p.size == samples * p.shape[-1]:
            _, _, own = _ranked(p.reshape(samples, -1), temperature)
            self._beside.append(own.astype(np.float32))

    def agreement(self, plain: Interval) -> Interval:
        """Return the share of equal decisions to be expected of samples like those watched.

        The variance of a mean over pairs of two samples is that of what each margin has a part in,
        and that of what each error has. The interval is Wilson's of as many samples as a plain
        share of that variance would take.

        Args:
            plain: The share of samples that were decided alike, as it is; returned where no
                samples were watched or nothing can be paired.
        """
        if not self._usable or not self._worth or not self._beside:
            return plain
        worth, scores, others = map(np.concatenate, (self._worth, self._scores, self._others))
        margins = np.concatenate([scores, *self._beside])
        order = np.argsort(scores[:, 0] - scores[:, 1], kind="stable")
        scores = scores[order]
        errors = _errors(worth[order], scores, others[order])
        if errors is None or not np.isfinite(margins).all():
            return plain
        count, partners = len(scores), min(_PARTNERS, len(scores))
        nearest = np.searchsorted(scores[:, 0] - scores[:, 1], margins[:, 0] - margins[:, 1])
        first = np.clip(nearest - partners // 2, 0, count - partners)
        flips, caused = np.zeros(len(margins)), np.zeros(count)
        for step in range(partners):
            flipped = (margins + errors[first + step]).argmax(1) != 0
            flips += flipped
            caused += np.bincount(first + step, flipped, count)
        share = 1 - float(flips.mean()) / partners
        margin = _NOISE * math.sqrt(share * (1 - share) / count)
        share = min(max(share, plain.value - margin), plain.value + margin)
        spread = float(np.var(flips / partners)) / len(margins)
        spread += float(np.var(caused * count / (partners * len(margins)))) / count
        alike = share * (1 - share) / spread if spread > 0 else 0.0
        found = wilson(share, round(min(max(alike, count), len(margins))))
        return Interval(found.value, found.low, found.high, "pairs")

    def losses(self, plain: np.ndarray) -> np.ndarray:
        """Return what each sample has a part in losing, [samples].

        The mean is the expected loss, and the variance over the number of samples is that of this
        mean: half of what a sample loses by errors of others, half of what others lose by its.

        Args:
            plain: What each sample loses by its own errors, [samples].
        """
        if not self._usable or not self._worth:
            return plain
        worth, scores, others = map(np.concatenate, (self._worth, self._scores, self._others))
        order = np.argsort(scores[:, 0] - scores[:, 1], kind="stable")
        worth, scores = worth[order], scores[order]
        errors = _errors(worth, scores, others[order])
        if errors is None:
            return plain
        count = len(worth)
        partners = min(_PARTNERS, count)
        first = np.clip(np.arange(count) - partners // 2, 0, count - partners)
        lost, caused, power = np.zeros(count), np.zeros(count), 0.0
        for step in range(partners):
            winner = (scores + errors[first + step]).argmax(1)
            loss = worth[:, 0] - np.take_along_axis(worth, winner[:, None], 1)[:, 0]
            lost += loss
            caused += np.bincount(first + step, loss, count)
            power += float(np.square(loss).mean())
        mean = float(lost.mean()) / partners
        margin = _NOISE * math.sqrt(max(power / partners - mean * mean, 0.0) / count)
        near = float(np.clip(mean, plain.mean() - margin, plain.mean() + margin))
        found = np.empty(count)
        found[order] = (lost + caused) / partners
        return found - 2 * mean + near

    def _drop(self) -> None:
        self._usable = False
        self._worth, self._scores, self._others, self._beside = [], [], [], []


def _ranked(p: np.ndarray, temperature: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the classes of probabilities [samples, classes] by rank, likeliest first.

    Returns:
        Their order [samples, classes], and of those that may win the probabilities and the
        original's scores [samples, ranks].
    """
    order = np.argsort(-p, axis=1, kind="stable")
    ranked = np.take_along_axis(p, order, 1)[:, : _RANKS + 1]
    return order, ranked, temperature * np.log(np.maximum(ranked.astype(np.float64), _TINY))


def _errors(worth: np.ndarray, scores: np.ndarray, others: np.ndarray) -> np.ndarray | None:
    """Return what a candidate's scores are off by, [samples, ranks], but for a common factor.

    What is next to impossible says nothing of the factor: its probabilities are too small to have
    kept their logarithms. None where nothing else is there, or no factor makes the scores alike.
    """
    likely = worth > _IMPOSSIBLE
    count = np.maximum(likely.sum(1, keepdims=True), 1)
    own, other = (
        each - np.where(likely, each, 0.0).sum(1, keepdims=True) / count
        for each in (scores, others)
    )
    common, power = float((own * other)[likely].sum()), float(np.square(other[likely]).sum())
    return np.asarray(other * (common / power) - own) if common > 0 else None
