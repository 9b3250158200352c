"""What models take by a target's table."""

from __future__ import annotations

import numpy as np
import pytest

import ocompress
from ocompress import targets
from ocompress.analysis.shapes import with_shapes
from ocompress.ir import Model
from ocompress.profiling.run_time import run_ns, run_ns_of_typed
from tests.build import Builder
from tests.graphs import ZOO

VNNI = targets.find("x86-vnni")


def conv(channels: int = 64) -> Model:
    b = Builder()
    x = b.input("x", ["n", channels, 16, 16])
    y = b.op("Conv", x, b.weight(channels, channels, 3, 3), b.weight(channels), pads=[1] * 4)
    b.op("Relu", y, to="y")
    b.output("y", ["n", channels, 16, 16])
    return b.model()


def test_time_grows_with_work() -> None:
    small, large = (run_ns(conv(channels), VNNI, None) for channels in (16, 64))
    assert 4 < large / small < 16


def test_a_model_with_shapes_takes_as_long() -> None:
    model = conv()
    typed = with_shapes(model, {})
    for integers in (True, False):
        found = run_ns_of_typed(typed, VNNI, as_integers=integers)
        assert 0 < found == run_ns(model, VNNI, None, as_integers=integers)


def test_integers_are_faster_where_there_is_much_to_multiply() -> None:
    model = conv()
    data = np.random.default_rng(0).standard_normal((64, 64, 16, 16)).astype(np.float32)
    quantized = ocompress.optimize(
        model, passes="quant{costs=table}", data=data, target="x86-vnni"
    ).model
    plain, integers = run_ns(model, VNNI, None), run_ns(model, VNNI, None, as_integers=True)
    assert integers < 0.6 * plain
    assert integers < run_ns(quantized, VNNI, None) < plain  # borders take time


def test_what_is_computed_while_loading_takes_no_time() -> None:
    b = Builder()
    x = b.input("x", ["n", 64])
    wide = b.op("Mul", b.op("Neg", b.weight(64, 256)), b.const(np.float32(0.5)))
    b.op("MatMul", x, wide, to="y")
    b.output("y", ["n", 256])
    plain = Builder()
    plain.op("MatMul", plain.input("x", ["n", 64]), plain.weight(64, 256), to="y")
    plain.output("y", ["n", 256])
    assert run_ns(b.model(), VNNI, None) == run_ns(plain.model(), VNNI, None)


@pytest.mark.parametrize("residual", [False, True])
def test_what_joins_a_convolution_takes_no_time(residual: bool) -> None:
    def net(*, joined: bool, read_twice: bool = False) -> Model:
        b = Builder(seed=1)
        x = b.input("x", ["n", 64, 16, 16])
        y = b.op("Conv", x, b.weight(64, 64, 3, 3), pads=[1] * 4)
        z = y
        if joined:
            z = b.op("Relu", b.op("Add", z, x) if residual else z)
        b.op("Identity", z, to="y")
        b.output("y", ["n", 64, 16, 16])
        if read_twice:
            b.op("Identity", y, to="z")
            b.output("z", ["n", 64, 16, 16])
        return b.model()

    alone = run_ns(net(joined=False), VNNI, None)
    assert run_ns(net(joined=True), VNNI, None) == alone
    assert run_ns(net(joined=True, read_twice=True), VNNI, None) > alone


@pytest.mark.parametrize("name", ["attention", "already_quantized", "if_bodies", "zero_nodes"])
def test_any_model_has_a_time(name: str) -> None:
    assert 0 <= run_ns(ZOO[name](), VNNI, None) < 1e9
