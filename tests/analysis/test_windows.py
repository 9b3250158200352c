"""What a convolution's kernel sees, against ONNX Runtime's own convolution."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ocompress.analysis.second_moments import Folded, SecondMoments
from ocompress.analysis.windows import window_of
from tests.build import Builder
from tests.passes.quantization.runs import outputs

CASES: list[tuple[int, list[int], dict[str, Any]]] = [
    (1, [3, 3], {}),
    (1, [3, 2], {"strides": [2, 1], "pads": [1, 0, 2, 1]}),
    (2, [3, 3], {"dilations": [2, 1], "pads": [2, 1, 2, 1]}),
    (4, [5, 1], {"strides": [1, 2], "pads": [2, 0, 2, 0]}),
    (1, [3], {"pads": [1, 1]}),
    (2, [2, 2, 2], {"strides": [1, 2, 1]}),
]


@pytest.mark.parametrize(("groups", "kernel", "attrs"), CASES)
def test_patches_times_weights_are_the_convolution(
    groups: int, kernel: list[int], attrs: dict[str, Any]
) -> None:
    b = Builder()
    x = b.input("x", [2, 4, *[9, 8, 7][: len(kernel)]])
    weight = b.rng.standard_normal((8, 4 // groups, *kernel)).astype(np.float32)
    b.output(b.op("Conv", x, b.const(weight), kernel_shape=kernel, group=groups, **attrs))
    data = b.rng.standard_normal((2, 4, *[9, 8, 7][: len(kernel)])).astype(np.float32)
    wanted = outputs(b.model(), {"x": data})[0]
    given = {key: attrs.get(key) for key in ("strides", "dilations", "pads")}
    window = window_of(kernel, groups, **given)
    assert window.extents(data.shape) == wanted.shape[2:]
    places = np.arange(int(np.prod(wanted.shape[2:])))[::2]
    seen = window.patches(data, places)
    rows = seen.reshape(*seen.shape[:3], -1)
    by_group = weight.reshape(groups, 8 // groups, -1)
    made = np.einsum("npgd,god->ngop", rows, by_group).reshape(2, 8, -1)
    np.testing.assert_allclose(made, wanted.reshape(2, 8, -1)[..., ::2], rtol=1e-4, atol=1e-5)


def test_moments_of_a_window_are_those_of_its_patches_and_folds_part_the_samples() -> None:
    window = window_of([2, 2], 2, strides=None, dilations=None, pads=None)
    data = np.random.default_rng(0).standard_normal((6, 4, 5, 5)).astype(np.float32)
    accumulator = SecondMoments(10_000, window).start()
    for start in (0, 4):
        accumulator.update(data[start : start + 4])
    found = accumulator.result()
    assert isinstance(found, Folded)
    rows = window.patches(data, np.arange(16)).reshape(6, 16, 2, -1).transpose(2, 0, 1, 3)
    for part, items in ((found.fit, [0, 1, 3, 4]), (found.judge, [2, 5])):
        chosen = rows[:, items].reshape(2, -1, 8)
        assert part.count == chosen.shape[1]
        np.testing.assert_allclose(part.mean, chosen.mean(axis=1), atol=1e-5)
        second = chosen.transpose(0, 2, 1) @ chosen / chosen.shape[1]
        np.testing.assert_allclose(part.second(), second, rtol=1e-4, atol=1e-4)
        centred = np.stack([np.cov(g.T, bias=True) for g in chosen])
        np.testing.assert_allclose(part.second(centred=True), centred, rtol=1e-3, atol=1e-4)
