"""The real thing, where the emulator and the sysroot are there."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ocompress.errors import UsageError
from ocompress.io import load_data, load_model
from ocompress.ir import Model
from ocompress.runtime import VERSION, Session
from ocompress.targets.cores import CORES
from ocompress.targets.device import Planned, run_on
from ocompress.targets.emulated import EmulatedTransport
from ocompress.targets.transport import silent
from ocompress.validation import validate_on
from tests.build import Builder, feeds

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="emulation needs Linux")

# Bits of the auxiliary vector in Linux's order.
_HWCAP = (
    "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm jscvt fcma "
    "lrcpc dcpop sha3 sm3 sm4 asimddp sha512 sve asimdfhm dit uscat ilrcpc flagm ssbs sb paca pacg"
)
_HWCAP2 = (
    "dcpodp sve2 sveaes svepmull svebitperm svesha3 svesm4 flagm2 frint svei8mm svef32mm svef64mm "
    "svebf16 i8mm bf16"
)

Emulate = Callable[[str], EmulatedTransport]


@pytest.fixture
def emulate() -> Emulate:
    """Return emulated cores, if this machine can emulate."""
    try:
        EmulatedTransport.of_core()
    except UsageError as error:
        pytest.skip(str(error))
    return EmulatedTransport.of_core


def named(bits: int, names: str) -> set[str]:
    return {name for position, name in enumerate(names.split()) if bits >> position & 1}


@pytest.mark.slow
@pytest.mark.parametrize("name", CORES)
def test_a_core_has_the_features_it_claims(emulate: Emulate, name: str, tmp_path: Path) -> None:
    core = emulate(name)
    (tmp_path / "runner.py").write_text(
        "import struct, sys\n"
        "entries = dict(struct.iter_unpack('QQ', open('/proc/self/auxv', 'rb').read()))\n"
        "open(sys.argv[2], 'w').write(f'{entries.get(16, 0)} {entries.get(26, 0)}')\n"
    )
    core.execute(tmp_path, silent)
    low, high = map(int, (tmp_path / "result.json").read_text().split())
    real = named(low, _HWCAP) | named(high, _HWCAP2)
    claimed = set(core.core.features.split())
    assert claimed <= real
    assert ("asimddp" in claimed) == ("asimddp" in real)


def conv_net() -> Model:
    b = Builder()
    x = b.input("x", ["N", 3, 16, 16])
    y = b.op("Relu", b.op("Conv", x, b.weight(16, 3, 3, 3), kernel_shape=[3, 3]))
    b.op("Conv", y, b.weight(8, 16, 3, 3), kernel_shape=[3, 3], to="y")
    b.output("y")
    return b.model()


def int8_net() -> Model:
    """A convolution on integers whose weights keep to 7 bits, so that no machine clips."""
    b = Builder()
    x = b.input("x", ["N", 3, 16, 16])
    step, zero = b.const(np.float32(0.03)), b.const(np.uint8(128))
    weights = b.rng.integers(-63, 64, (16, 3, 3, 3)).astype(np.int8)
    w = b.op("DequantizeLinear", b.const(weights), b.const(np.float32(0.01)), b.const(np.int8(0)))
    q = b.op("DequantizeLinear", b.op("QuantizeLinear", x, step, zero), step, zero)
    y = b.op("Conv", q, w, kernel_shape=[3, 3])
    b.op("DequantizeLinear", b.op("QuantizeLinear", y, step, zero), step, zero, to="y")
    b.output("y")
    return b.model()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["max", "cortex-a72", "cortex-a76"])
def test_arm_computes_what_this_machine_computes(emulate: Emulate, name: str) -> None:
    models = {"float": conv_net(), "int8": int8_net()}
    feed = feeds(models["float"])
    planned = [Planned(kind, model) for kind, model in models.items()]
    with run_on(emulate(name), planned, [feed]) as run:
        there = {kind: next(run.models[kind].outputs())["y"] for kind in models}
    assert run.facts.machine == "aarch64"
    assert run.facts.onnxruntime == VERSION
    assert not run.timed
    here = {kind: Session(model).run(feed)["y"] for kind, model in models.items()}
    np.testing.assert_allclose(there["float"], here["float"], atol=1e-5)
    assert np.ptp(here["int8"]) > 1
    np.testing.assert_allclose(there["int8"], here["int8"], atol=0.0301)  # a tie may go either way
    assert np.mean(there["int8"] != here["int8"]) < 0.01


@pytest.mark.slow
def test_real_nets_agree_on_arm(emulate: Emulate) -> None:
    root = Path(__file__).parents[2] / "models"
    net = load_model(root / "lenet5.onnx")
    data = load_data(root / "data" / "fashion_test.npz", net, samples=64)
    found = validate_on(emulate("max"), net, net, data)
    assert found.passed
    assert found.facts.machine == "aarch64"
    for machine in found.machines:
        assert machine.outputs[0].elements == 640
        assert machine.outputs[0].max_abs_error < 1e-5
        assert machine.flips[0].count == 0
