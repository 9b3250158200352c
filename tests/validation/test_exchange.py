"""Expected loss over pairs of margins and errors."""

from __future__ import annotations

import numpy as np

from ocompress.validation.exchange import Exchange

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
