"""Expected loss over pairs of margins and errors."""

from __future__ import annotations

import numpy as np
import pytest

from ocompress.validation.exchange import Exchange
from ocompress.validation.intervals import mean_interval, wilson
from ocompress.validation.result import Interval

CLASSES, MARGIN, ONE_SIDED = 12, 0.05, 0.95


def draw(count: int, seed: int, noise: float = 0.15) -> tuple[np.ndarray, np.ndarray]:
    """Draw logits of an original, and those of a candidate that is off by noise."""
    rng = np.random.default_rng(seed)
    logits = 2 * rng.standard_normal((count, CLASSES))
    return logits, 3 * (logits + noise * rng.standard_normal(logits.shape))


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return np.asarray(powers / powers.sum(1, keepdims=True))


def loss(logits: np.ndarray, other: np.ndarray, temperature: float = 1.0) -> Interval:
    """Return the expected loss over pairs."""
    p = softmax(logits / temperature)
    exchange = Exchange()
    for at in range(0, len(p), 7):
        rows = slice(at, at + 7)
        exchange.update(p[rows], other[rows], temperature, len(p[rows]))
    return exchange.loss(plain_losses(logits, other, temperature), MARGIN, ONE_SIDED)


def plain_losses(logits: np.ndarray, other: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    p = softmax(logits / temperature)
    return np.asarray(p.max(1) - p[np.arange(len(p)), other.argmax(1)])


def test_it_expects_the_same_loss_with_much_less_noise() -> None:
    truth = plain_losses(*draw(20_000, 0)).mean()
    found = [loss(*draw(60, seed)) for seed in range(1, 81)]
    plain = np.array([plain_losses(*draw(60, seed)).mean() for seed in range(1, 81)])
    ours = np.array([f.value for f in found])
    assert abs(ours.mean() - truth) < 0.15 * truth
    assert ours.std() < 0.6 * plain.std()
    assert 0.9 <= np.mean([truth <= f.high for f in found]) <= 1
    widths = [f.high - f.value for f in found]
    alone = [mean_interval(plain_losses(*draw(60, s)), MARGIN, ONE_SIDED) for s in range(1, 81)]
    assert np.mean(widths) < 0.85 * np.mean([f.high - f.value for f in alone])


def test_a_temperature_and_a_slope_of_the_scores_change_no_flip() -> None:
    logits, other = draw(300, 3)
    first = loss(logits, other)
    scaled = loss(5 * logits, 40 * other, temperature=5)
    assert scaled.value == pytest.approx(first.value, rel=1e-4)
    assert scaled.high == pytest.approx(first.high, rel=1e-3)


def test_errors_that_depend_on_the_class_are_counted_as_they_are_in_the_end() -> None:
    rng = np.random.default_rng(0)
    logits = rng.standard_normal((20_000, 3)) * [4, 1, 1]
    other = logits * [1, 0.5, 0.5]
    plain = plain_losses(logits, other)
    p = softmax(logits)
    noise = np.sqrt(plain.mean() * (p.max(1) - np.sort(p, 1)[:, -2]).max() / len(p))
    assert abs(loss(logits, other).value - plain.mean()) < 2.5 * noise


def test_what_cannot_be_paired_is_counted_as_it_is() -> None:
    logits, other = draw(20, 1)
    p, plain = softmax(logits), np.linspace(0, 0.1, 20)
    for given, scores, samples in (
        (p, None, 20),
        (p, np.where(np.arange(CLASSES) == 2, np.nan, other), 20),
        (p, other, 10),  # two decisions a sample
        (p[:, :1], other[:, :1], 20),
    ):
        exchange = Exchange()
        exchange.update(given, scores, 1.0, samples)
        exchange.update(p, other, 1.0, 20)
        found = exchange.loss(plain, MARGIN, ONE_SIDED)
        assert found == mean_interval(plain, MARGIN, ONE_SIDED)


def test_classes_that_differ_from_feed_to_feed_are_no_pairs() -> None:
    logits, other = draw(40, 1)
    p, plain = softmax(logits), np.linspace(0, 0.1, 40)
    exchange = Exchange()
    exchange.update(p[:20], other[:20], 1.0, 20)
    exchange.watch(p[:, :5], other[:, :5], 1.0, 40)  # which alone does not matter
    paired = exchange.loss(plain[:20], MARGIN, ONE_SIDED)
    assert paired.value != plain[:20].mean()
    exchange.update(p[20:, :5], other[20:, :5], 1.0, 20)
    assert exchange.loss(plain, MARGIN, ONE_SIDED) == mean_interval(plain, MARGIN, ONE_SIDED)


def test_nothing_off_is_no_loss() -> None:
    logits, _ = draw(50, 2)
    for size in (1, 1000):  # of scores that large all but one are impossible
        found = loss(size * logits, 7 * logits - 3)
        assert found.value == 0
        assert found.high == mean_interval(np.zeros(50), MARGIN, ONE_SIDED).high


def fitted(seed: int, smaller: float, held: int = 60, beside: int = 240) -> list[Interval]:
    """Return the loss by held-out samples alone, and with others on which errors are smaller."""
    logits, other = draw(held + beside, seed, noise=0.3)
    errors = other / 3 - logits
    errors[held:] *= smaller
    candidate, p = 3 * (logits + errors), softmax(logits)
    plain = plain_losses(logits[:held], candidate[:held])
    found = []
    for scores in (None, candidate[held:]):
        exchange = Exchange()
        exchange.update(p[:held], candidate[:held], 1.0, held)
        exchange.watch(p[held:], scores, 1.0, beside)
        found.append(exchange.loss(plain, MARGIN, ONE_SIDED))
    return found


def test_errors_on_samples_fitted_to_tell_more_once_they_are_as_large() -> None:
    truth = plain_losses(*draw(50_000, 0, noise=0.3)).mean()
    found = [fitted(seed, 0.7) for seed in range(1, 61)]
    alone, both = (np.array([f[i].value for f in found]) - truth for i in (0, 1))
    assert np.sqrt(np.square(both).mean()) < 0.75 * np.sqrt(np.square(alone).mean())
    assert abs(both.mean()) < 0.1 * truth  # 0.49 of it, were they not made larger
    assert np.mean([truth <= f[1].high for f in found]) >= 0.93


def test_errors_of_another_kind_say_nothing() -> None:
    for seed in range(5):
        alone, both = fitted(seed, 0.3)
        assert both == alone


def agreements(seed: int, held: int = 32, beside: int = 64, noise: float = 0.15) -> list[float]:
    """Return agreement by pairs and as it is, and the ends of the interval by pairs."""
    logits, other = draw(held + beside, seed, noise)
    p = softmax(logits)
    exchange = Exchange()
    exchange.update(p[:held], other[:held], 1.0, held)
    exchange.watch(p[held:], None, 1.0, beside)
    alike = logits[:held].argmax(1) == other[:held].argmax(1)
    found = exchange.agreement(wilson(float(alike.mean()), held))
    return [found.value, float(alike.mean()), found.low, found.high]


def test_agreement_of_few_samples_is_that_of_many_with_margins_of_samples_beside() -> None:
    logits, other = draw(50_000, 0)
    truth = float((logits.argmax(1) == other.argmax(1)).mean())
    found = np.array([agreements(seed) for seed in range(1, 121)])
    ours, plain = found[:, 0] - truth, found[:, 1] - truth
    assert abs(ours.mean()) < 0.01
    assert ours.std() < 0.65 * plain.std()
    assert (np.abs(ours) <= 0.04).mean() > 0.85 > (np.abs(plain) <= 0.04).mean() + 0.1
    covered = (found[:, 2] <= truth) & (truth <= found[:, 3])
    assert 0.9 <= covered.mean() < 1


def test_agreement_is_counted_as_it_is_without_margins_of_samples_beside() -> None:
    logits, other = draw(40, 1)
    p, plain = softmax(logits), wilson(0.5, 40)
    exchange = Exchange()
    exchange.update(p, other, 1.0, 40)
    assert exchange.agreement(plain) is plain
    exchange.watch(p, None, 1.0, 20)  # two decisions a sample cannot be paired
    assert exchange.agreement(plain) is plain
    exchange.watch(p * np.nan, None, 1.0, 40)
    assert exchange.agreement(plain) is plain


def test_agreement_stays_near_what_was_counted() -> None:
    logits, _ = draw(96, 2)
    p = softmax(logits)
    exchange = Exchange()
    exchange.update(p[:32], logits[:32], 1.0, 32)
    exchange.watch(p[32:], None, 1.0, 64)
    found = exchange.agreement(wilson(0.75, 32))  # errors that pairs do not explain
    assert found.value == 0.75
