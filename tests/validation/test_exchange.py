"""Expected loss over pairs of margins and errors."""

from __future__ import annotations

import numpy as np

from ocompress.validation.exchange import Exchange
from ocompress.validation.intervals import wilson

CLASSES = 12


def draw(count: int, seed: int, noise: float = 0.15) -> tuple[np.ndarray, np.ndarray]:
    """Draw logits of an original, and those of a candidate that is off by noise."""
    rng = np.random.default_rng(seed)
    logits = 2 * rng.standard_normal((count, CLASSES))
    return logits, 3 * (logits + noise * rng.standard_normal(logits.shape))


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return np.asarray(powers / powers.sum(1, keepdims=True))


def losses(
    logits: np.ndarray, other: np.ndarray, temperature: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """Return losses over pairs, and plain ones."""
    p = softmax(logits / temperature)
    plain = p.max(1) - p[np.arange(len(p)), other.argmax(1)]
    exchange = Exchange()
    for at in range(0, len(p), 7):
        rows = slice(at, at + 7)
        exchange.update(p[rows], other[rows], temperature, len(p[rows]))
    return exchange.losses(plain), plain


def test_it_expects_the_same_loss_with_much_less_noise() -> None:
    _, plain = losses(*draw(20_000, 0))
    found, means = zip(*[losses(*draw(60, seed)) for seed in range(1, 81)], strict=True)
    ours, theirs = np.array([f.mean() for f in found]), np.array([m.mean() for m in means])
    assert abs(ours.mean() - plain.mean()) < 0.15 * plain.mean()
    assert ours.std() < 0.6 * theirs.std()
    errors = np.array([f.std() / np.sqrt(len(f)) for f in found])
    assert 0.6 < errors.mean() / ours.std() < 1.7  # the variance is the one it says


def test_a_temperature_and_a_slope_of_the_scores_change_no_flip() -> None:
    logits, other = draw(300, 3)
    first, _ = losses(logits, other)
    scaled, _ = losses(5 * logits, 40 * other, temperature=5)
    np.testing.assert_allclose(scaled, first, atol=1e-4)


def test_errors_that_depend_on_the_class_are_counted_as_they_are_in_the_end() -> None:
    rng = np.random.default_rng(0)
    logits = rng.standard_normal((20_000, 3)) * [4, 1, 1]
    other = logits * [1, 0.5, 0.5]
    found, plain = losses(logits, other)
    p = softmax(logits)
    noise = np.sqrt(plain.mean() * (p.max(1) - np.sort(p, 1)[:, -2]).max() / len(p))
    assert abs(found.mean() - plain.mean()) < 2.5 * noise


def test_what_cannot_be_paired_is_counted_as_it_is() -> None:
    logits, other = draw(20, 1)
    p, plain = softmax(logits), np.arange(20.0)
    for given, scores, samples in (
        (p, None, 20),
        (p, np.where(np.arange(CLASSES) == 2, np.nan, other), 20),
        (p, other, 10),  # two decisions a sample
        (p[:, :1], other[:, :1], 20),
    ):
        exchange = Exchange()
        exchange.update(given, scores, 1.0, samples)
        exchange.update(p, other, 1.0, 20)
        assert exchange.losses(plain) is plain


def test_nothing_off_is_no_loss() -> None:
    logits, _ = draw(50, 2)
    for size in (1, 1000):  # of scores that large all but one are impossible
        found, _ = losses(size * logits, 7 * logits - 3)
        assert np.abs(found).max() == 0


def agreements(seed: int, held: int = 32, beside: int = 64, noise: float = 0.15) -> list[float]:
    """Return agreement by pairs and as it is, and the ends of the interval by pairs."""
    logits, other = draw(held + beside, seed, noise)
    p = softmax(logits)
    exchange = Exchange()
    exchange.update(p[:held], other[:held], 1.0, held)
    exchange.watch(p[held:], 1.0, beside)
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
    exchange.watch(p, 1.0, 20)  # two decisions a sample cannot be paired
    assert exchange.agreement(plain) is plain
    exchange.watch(p * np.nan, 1.0, 40)
    assert exchange.agreement(plain) is plain


def test_agreement_stays_near_what_was_counted() -> None:
    logits, _ = draw(96, 2)
    p = softmax(logits)
    exchange = Exchange()
    exchange.update(p[:32], logits[:32], 1.0, 32)
    exchange.watch(p[32:], 1.0, 64)
    found = exchange.agreement(wilson(0.75, 32))  # errors that pairs do not explain
    assert found.value == 0.75
