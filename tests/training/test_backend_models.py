"""Every backend model of the onnx package whose operators are known computes the same."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install ocompress[tune]")

from ocompress.errors import OcompressError
from ocompress.ir import from_proto
from ocompress.runtime import Session
from ocompress.training.registry import rules
from tests.passes.canonical.backend import Case, cases
from tests.training.nets import apart

FEW = 40
"""Of one operator in a hundred an option is not known; ONNX Runtime runs the node then."""


def _runs(case: Case) -> bool:
    if not all(isinstance(a, np.ndarray) for a in case.feeds.values()):
        return False
    try:
        Session(from_proto(case.proto)).run(case.feeds)
    except OcompressError:
        return False
    return True


@pytest.mark.slow
def test_models_of_known_operators() -> None:
    known = set(rules())
    seen, opaque, wrong = 0, Counter[str](), []
    for case in cases():
        if not {n.op_type for n in case.proto.graph.node} <= known or not _runs(case):
            continue
        error, program = apart(from_proto(case.proto), case.feeds)
        narrow = any(a.dtype.itemsize == 2 and a.dtype.kind != "i" for a in case.feeds.values())
        if error > (5e-3 if narrow else 1e-4):
            wrong.append((case.name, error))
        seen += 1
        opaque.update(n.op_type for n in program.opaque)
    assert not wrong
    assert seen > 850
    assert opaque.total() < FEW, opaque
