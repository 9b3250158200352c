"""The factor of the inverse, found without the inverse."""

from __future__ import annotations

import numpy as np
import pytest

from passes.quantization.inverse_factor import inverse_factor


@pytest.mark.parametrize("inputs", [1, 2, 96, 97, 211])
def test_it_is_the_upper_factor_of_the_inverse(inputs: int) -> None:
    rows = np.random.default_rng(inputs).standard_normal((3, 4 * inputs, inputs))
    hessians = rows.transpose(0, 2, 1) @ rows + np.eye(inputs)
    found = inverse_factor(hessians)
    assert np.array_equal(found, np.triu(found))
    np.testing.assert_allclose(
        found.transpose(0, 2, 1) @ found @ hessians, np.broadcast_to(np.eye(inputs), found.shape),
        atol=1e-9,
    )  # fmt: skip


def test_what_is_not_positive_definite_is_refused() -> None:
    with pytest.raises(np.linalg.LinAlgError):
        inverse_factor(np.array([[[1.0, 2.0], [2.0, 1.0]]]))
