"""What ONNX Runtime makes of a model while it loads it."""

from __future__ import annotations

import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import GraphProto

from ocompress.ir import Model, packed
from ocompress.ir.strings import decoded
from ocompress.runtime import Level, Session


@dataclass(frozen=True)
class Loaded:
    """A model after the optimizations that need no hardware.

    Attributes:
        operators: How often each operator is left, bodies included.
        constants: Constants of all graphs, by name.
    """

    operators: Counter[str]
    constants: dict[str, np.ndarray]


def as_loaded(model: Model) -> Loaded:
    """Load a model as its file has it, with what packed constants are computed of.

    Args:
        model: With weights of less than 2 GiB once they are computed.

    Raises:
        RuntimeFailureError: If ONNX Runtime cannot load it.
    """
    found = Loaded(Counter(), {})
    with tempfile.TemporaryDirectory(prefix="ocompress-") as folder:
        path = Path(folder) / "loaded.onnx"
        Session(packed.unpacked(model), level=Level.BASIC, save_to=path)
        _collect(onnx.load(path).graph, found)
    return found


def _collect(graph: GraphProto, found: Loaded) -> None:
    for tensor in graph.initializer:
        found.constants[decoded(tensor.name)] = onnx.numpy_helper.to_array(tensor)
    for node in graph.node:
        found.operators[f"{decoded(node.domain)}:{decoded(node.op_type)}"] += 1
        for attribute in node.attribute:
            for body in (*attribute.graphs, attribute.g):
                _collect(body, found)
