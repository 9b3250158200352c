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
Its errors there are too small. How much too small is known better than what they cost, since all
samples say it and not only those that flip: with errors made larger by one factor the mean is of
several times as many pairs. Those that are too small by more than a factor of two are of another
kind, as after a fit of as many numbers as there are samples, and stay out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from ocompress.validation.intervals import mean_interval, share_interval, wilson
from ocompress.validation.ranked_scores import RankedScores
from ocompress.validation.result import Interval

_PARTNERS = 32
"""Samples whose errors each margin meets. Fewer average less; many are no longer as sure."""
_NOISE = 2.0
"""Standard errors of the plain mean that the mean over pairs may be away from it."""
_MOST = 1 << 16
"""Samples beyond which flips are frequent enough to count them as they are."""
_MOST_ALIKE = 2
"""How many times as many samples as there are errors a mean over pairs may stand for."""
_MOST_TIMES = 8
"""How many times as many partners a margin may have where there are more errors."""
_OTHER_KIND = 2.0
"""Errors on samples that nothing was fitted to that are so many times as large are others."""
_DOUBT = 0.25
"""Relative error of what is lost by errors that were made larger: flips of few samples are far off
in other ways."""


@dataclass(frozen=True)
class _Paired:
    """What is expected over pairs.

    Attributes:
        mean: What is lost on average.
        power: Mean square of what is lost.
        count: Samples of which a plain mean says as much.
    """

    mean: float
    power: float
    count: int


@dataclass
class Exchange:
    """Pairs of margins and errors of one output that decides once for each sample."""

    _own: list[RankedScores] = field(default_factory=list)
    _beside: list[RankedScores] = field(default_factory=list)
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
        rows = RankedScores.of(
            p.reshape(samples, classes), scores.reshape(samples, classes), temperature
        )
        finite = np.isfinite(rows.scores).all() and np.isfinite(rows.others).all()
        if finite and rows.goes_with(self._own):
            self._own.append(rows)
        else:
            self._drop()

    def watch(
        self, p: np.ndarray, scores: np.ndarray | None, temperature: float, samples: int
    ) -> None:
        """Take in samples that the candidate was fitted to.

        Args:
            p: Probabilities of the original, [samples, ..., classes].
            scores: As in `update`; None where the candidate did not run.
            temperature: As in `update`.
            samples: Samples of the feed.
        """
        classes = p.shape[-1] if p.ndim else 0
        if not self._usable or p.size != samples * classes:
            return
        p = p.reshape(samples, classes)
        if scores is not None:
            scores = scores.reshape(p.shape) if scores.size == p.size else None
        rows = RankedScores.of(p, scores, temperature)
        if rows.goes_with([*self._own, *self._beside]):
            self._beside.append(rows)

    def agreement(self, plain: Interval) -> Interval:
        """Return the share of equal decisions to be expected of samples like those watched.

        Args:
            plain: The share of samples that were decided alike, as it is; returned where no
                samples were watched or nothing can be paired.
        """
        if not self._beside:
            return plain
        found = self._paired(1 - plain.value, flips=True)
        if found is None:
            return plain
        same = wilson(1 - found.mean, found.count)
        return Interval(same.value, same.low, same.high, "pairs")

    def loss(self, plain: np.ndarray, margin: float, confidence: float | None) -> Interval:
        """Return the loss to be expected of samples like those watched.

        Args:
            plain: What each sample loses by its own errors, [samples]; counted as it is where
                nothing can be paired.
            margin: What a sample would lose if it lost anything, where none does.
            confidence: As of `mean_interval`.
        """
        found = self._paired(float(plain.mean()))
        if found is None:
            return mean_interval(plain, margin, confidence)
        size = found.power / found.mean if found.mean > 0 else margin
        least = margin, len(plain)
        return share_interval(found.mean, size, found.count, least, confidence)

    def _paired(self, plain: float, *, flips: bool = False) -> _Paired | None:
        """Let margins meet errors.

        The variance of a mean over pairs of two samples is that of what each margin has a part in,
        and that of what each error has. The count is that of samples that a plain mean of the
        same variance would take.

        Args:
            plain: What is lost on average as it is.
            flips: Whether a flip counts 1 and not what it costs.

        Returns:
            None where nothing can be paired.
        """
        if not self._usable or not self._own:
            return None
        own = RankedScores.joined(self._own)
        errors, gaps, doubt = own.errors(), own.gaps, 0.0
        if errors is None:
            return None
        count, rows = len(gaps), own
        if self._beside:
            beside = RankedScores.joined(self._beside)
            rows, scaled = RankedScores.joined([own, beside]), _scaled(own, errors, beside)
            if scaled is not None:
                errors, doubt = np.concatenate([errors, scaled[0]]), scaled[1]
                gaps = rows.gaps
        if not np.isfinite(rows.scores).all():
            return None
        order = np.argsort(gaps, kind="stable")
        times = len(gaps) / count
        mean, power, spread = _meet(rows, errors[order], gaps[order], times, flips)
        margin = _NOISE * math.sqrt(max(power - mean * mean, 0.0) / count)
        near = min(max(mean, plain - margin), plain + margin)
        spread += (doubt * near) ** 2
        alike = (power - mean * mean) / spread if spread > 0 else 0.0
        return _Paired(near, power, round(min(max(alike, count), _MOST_ALIKE * len(gaps))))

    def _drop(self) -> None:
        self._usable = False
        self._own, self._beside = [], []


def _scaled(
    own: RankedScores, errors: np.ndarray, beside: RankedScores
) -> tuple[np.ndarray, float] | None:
    """Return errors on samples that a candidate was fitted to, as large as those on others are.

    Args:
        own: Samples that nothing was fitted to.
        errors: Errors on them, [samples, ranks].
        beside: The others.

    Returns:
        Errors [samples beside, ranks], and the relative doubt that they bring to what is lost;
        None where there are none, or they are of another kind.
    """
    if not np.isfinite(beside.others).all():
        return None
    found = beside.errors()
    if found is None:
        return None
    wanted, there = own.sizes(errors), beside.sizes(found)
    power, known = float(wanted.mean()), float(there.mean())
    if not 0 < power <= _OTHER_KIND**2 * known:
        return None
    doubt = float(wanted.std()) / power / math.sqrt(len(wanted))  # what is lost goes by squares
    return found * math.sqrt(power / known), math.hypot(doubt, _DOUBT)


def _meet(
    rows: RankedScores, errors: np.ndarray, gaps: np.ndarray, times: float, flips: bool
) -> tuple[float, float, float]:
    """Let the margins of samples meet errors of those that are about as sure.

    Args:
        rows: The samples.
        errors: Sorted by gap, [errors, ranks].
        gaps: Theirs, [errors].
        times: How many times as many partners a margin has.
        flips: Whether a flip counts 1 and not what it costs.

    Returns:
        The mean of what is lost, its mean square, and the variance of the mean.
    """
    count, total = len(gaps), len(rows.scores)
    partners = min(round(_PARTNERS * min(times, _MOST_TIMES)), count)
    first = np.clip(np.searchsorted(gaps, rows.gaps) - partners // 2, 0, count - partners)
    lost, caused, power = np.zeros(total), np.zeros(count), 0.0
    for step in range(partners):
        winner = (rows.scores + errors[first + step]).argmax(1)
        loss = (winner != 0).astype(np.float64)
        if not flips:
            loss = rows.worth[:, 0] - np.take_along_axis(rows.worth, winner[:, None], 1)[:, 0]
        lost += loss
        caused += np.bincount(first + step, loss, count)
        power += float(np.square(loss).mean())
    spread = float(np.var(lost / partners)) / total
    spread += float(np.var(caused * count / (partners * total))) / count
    return float(lost.mean()) / partners, power / partners, spread
