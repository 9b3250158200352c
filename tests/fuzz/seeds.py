"""What is damaged: models of all kinds, small enough that a case takes milliseconds."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import onnx

from ocompress.ir import to_proto
from tests.cli.endless import endless
from tests.graphs import protos
from tests.ir import hidden, test_inference, test_round_trip
from tests.ir.test_strings import everywhere
from tests.passes.canonical.backend import cases

_LARGEST = 20_000
_EVERY_BACKEND_MODEL = 12
_NETS = Path(__file__).parents[2] / "models"


@cache
def models(*, quick: bool = False) -> list[tuple[str, bytes]]:
    """Return serialized models by name, in an order that does not change.

    Args:
        quick: Leave out those that take seconds to build.
    """
    found = {name: proto.SerializeToString() for name, proto in protos().items()}
    for kind, build in hidden.KINDS.items():
        found[f"hidden-{kind}"] = build("").SerializeToString()
    for make in test_inference.MAKERS:
        proto = to_proto(test_inference.longer(make, 200))
        found[f"list-{make.__name__}"] = proto.SerializeToString()
    found["loop"] = endless(trips=3).SerializeToString()
    found["rich"] = test_round_trip.rich().SerializeToString()
    found["odd-text"] = everywhere().SerializeToString()
    if not quick:
        found["lenet5"] = (_NETS / "lenet5.onnx").read_bytes()
        found |= _backend()
    return sorted(found.items())


def _backend() -> dict[str, bytes]:
    chosen: list[tuple[str, onnx.ModelProto]] = [
        (case.name, case.proto)
        for case in cases()
        if case.proto.ByteSize() <= _LARGEST and "training" not in case.name
    ]
    return {n: p.SerializeToString() for n, p in chosen[::_EVERY_BACKEND_MODEL]}
