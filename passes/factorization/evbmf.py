"""How many singular values of a noisy matrix are signal, without being told the noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Spectrum:
    """Singular values of a matrix.

    Attributes:
        values: Falling.
        shape: Rows and columns of the matrix.
    """

    values: np.ndarray
    shape: tuple[int, ...]


def evbmf_rank(spectrum: Spectrum) -> int:
    """Return the rank that empirical variational Bayesian matrix factorization finds.

    The noise is estimated by minimising the free energy, whose minimum is known in closed form for
    any noise; singular values above the threshold that belongs to it are signal (Nakajima et al.,
    Global Analytic Solution of Fully-observed Variational Bayesian Matrix Factorization, 2013).

    Returns:
        At least 1.
    """
    low, high = sorted(int(x) for x in spectrum.shape)
    values = spectrum.values[:low].astype(np.float64)
    power = np.square(values)
    if low < 2 or not power.any():
        return 1
    alpha = low / high
    tau = 2.5129 * np.sqrt(alpha)
    edge = (1 + tau) * (1 + alpha / tau)
    total = float(power.sum())
    first = int(min(np.ceil(low / (1 + alpha)) - 1, low)) - 1
    rest = power[min(first + 1, low - 1) :]
    least = max(power[min(first + 1, low - 1)] / (high * edge), float(rest.mean()) / high)
    most = total / (low * high)
    noises = np.geomspace(max(least, most * 1e-9), max(most, least), 400)
    energies = [_free_energy(power / (noise * high), alpha, edge) for noise in noises]
    noise = float(noises[int(np.argmin(energies))])
    return max(1, int((power > high * noise * edge).sum()))


def _free_energy(scaled: np.ndarray, alpha: float, edge: float) -> float:
    """Return the free energy, up to constants, of squared singular values over their noise."""
    safe = np.maximum(scaled, 1e-30)
    above = safe > edge
    energy = float((safe - np.log(safe)).sum())
    seen = safe[above]
    if seen.size:
        root = 0.5 * (
            seen - (1 + alpha) + np.sqrt(np.maximum((seen - (1 + alpha)) ** 2 - 4 * alpha, 0))
        )
        energy += float((np.log(root + 1) + alpha * np.log(root / alpha + 1) - root).sum())
    return energy
