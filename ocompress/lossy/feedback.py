"""Weights that get values input by input, the inputs to come making up for each error."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_NEAR, _FAR = 32, 256
"""Inputs behind which the others hear of errors together: those of the same stretch of `_FAR` after
`_NEAR`, all others after `_FAR`. The more hear at once, the more is a product of large matrices,
which reads what it changes less often; the result is the same."""


@dataclass(frozen=True)
class Feedback:
    """What inputs to come should move by for errors of those before them.

    Rounding in this way is optimal brain compression in a fixed order (Frantar et al., 2022; GPTQ,
    2023). It takes no inverse: with H = (1 + P) D (1 + P)^T, P strictly upper, an input should be
    what it was plus P^T times what is missing of all inputs before it (Chee et al., QuIP: 2-Bit
    Quantization of Large Language Models With Guarantees, 2023).

    Attributes:
        passed: 1 + P, (groups, inputs, inputs).
        variance: D, what is left of each input's variance if those to come make up for it,
            (groups, inputs).
    """

    passed: np.ndarray
    variance: np.ndarray

    @classmethod
    def of(cls, hessians: np.ndarray) -> Feedback:
        """Factorize what errors of inputs cost.

        Args:
            hessians: H, float64, (groups, inputs, inputs), in the order in which inputs get values.

        Raises:
            numpy.linalg.LinAlgError: If one is not positive definite.
        """
        # with the axes reversed, the Cholesky factor of a matrix is upper
        upper = np.linalg.cholesky(hessians[:, ::-1, ::-1])[:, ::-1, ::-1]
        roots = np.einsum("gii->gi", upper)
        return cls(upper / roots[:, None], np.square(roots))

    def left_of(self, block: slice) -> np.ndarray:
        """Return what is left of products of some inputs if those to come make up for them.

        Args:
            block: Inputs in a row.

        Returns:
            (groups, n, n).
        """
        corner = self.passed[:, block, block]
        found: np.ndarray = (corner * self.variance[:, None, block]) @ corner.transpose(0, 2, 1)
        return found

    def sweep(self, target: np.ndarray) -> Sweep:
        """Begin to give values to weights that should be `target`, (groups, inputs, outputs)."""
        return Sweep(self.passed, target)


class Sweep:
    """Weights of which some have values.

    Attributes:
        wanted: What the next one should be, (groups, inputs, outputs); others, as far as they have
            heard, not counting what those between will make up for (see `ahead`).
    """

    def __init__(self, passed: np.ndarray, target: np.ndarray) -> None:
        """Begin; see `Feedback.sweep`."""
        self.wanted = np.array(target, np.float64)
        self._passed, self._target = passed, target
        groups, inputs, outputs = target.shape
        self._missing = np.zeros((groups, min(_FAR, inputs), outputs))
        self._given = 0

    def give(self, at: int, values: np.ndarray) -> None:
        """Give the next input, number `at`, its values, (groups, outputs)."""
        start = at // _FAR * _FAR
        self._given = at + 1
        self._missing[:, at - start] = self._target[:, at] - values
        inputs = self.wanted.shape[1]
        far = min(start + _FAR, inputs)
        begun = at // _NEAR * _NEAR
        near = min(begun + _NEAR, inputs)
        own = self._passed[:, at, at + 1 : near, None] * self._missing[:, at - start, None]
        self.wanted[:, at + 1 : near] += own
        if at + 1 == near:
            self._tell(slice(begun, near), slice(near, far), start)
        if at + 1 == far:
            self._tell(slice(start, far), slice(far, inputs), start)

    def ahead(self, count: int) -> np.ndarray:
        """Return what the next inputs should be together, (groups, count, outputs).

        Those after the first one are what `wanted` says less what the ones between, not being what
        they were either, make up for already.
        """
        done, inputs = self._given, self.wanted.shape[1]
        block = slice(done, done + count)
        if not done:
            return np.array(self._target[:, block], np.float64)
        start, begun = done // _FAR * _FAR, done // _NEAR * _NEAR
        far, near = min(start + _FAR, inputs), min(begun + _NEAR, inputs)
        wanted, at = self.wanted[:, block].copy(), np.arange(done, done + count)
        for given, late in (
            (slice(begun, done), (at >= near) & (at < far)),
            (slice(start, done), at >= far),
        ):
            if late.any():
                wanted[:, late] += self._moved(given, slice(at[late][0], at[late][-1] + 1), start)
        corner = self._passed[:, block, block].transpose(0, 2, 1)
        target = self._target[:, block]
        return np.asarray(target - np.linalg.solve(corner, target - wanted))

    def _tell(self, given: slice, later: slice, start: int) -> None:
        self.wanted[:, later] += self._moved(given, later, start)

    def _moved(self, given: slice, later: slice, start: int) -> np.ndarray:
        missing = self._missing[:, given.start - start : given.stop - start]
        found: np.ndarray = self._passed[:, given, later].transpose(0, 2, 1) @ missing
        return found
