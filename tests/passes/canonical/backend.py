"""ONNX's own backend tests as models with inputs."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
import onnx.backend.test
from onnx import numpy_helper

KINDS = ("node", "simple", "pytorch-converted", "pytorch-operator")
LIGHT = Path(onnx.backend.test.__file__).parent / "data" / "light"


@dataclass(frozen=True)
class Case:
    """One test model and its first set of inputs."""

    name: str
    proto: onnx.ModelProto
    feeds: dict[str, Any]


def cases() -> Iterator[Case]:
    """Iterate over all of them; the models are built by running numpy, some hundred at import."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its reference computations overflow on purpose
        from onnx.backend.test.loader import load_model_tests

        tests = [test for kind in KINDS for test in load_model_tests(kind=kind)]
    for test in tests:
        if test.model is not None:
            assert test.data_sets is not None
            proto, inputs = test.model, list(test.data_sets[0][0])
        else:
            folder = Path(test.model_dir or "")
            proto = onnx.load(folder / "model.onnx")
            inputs = _stored_inputs(proto, folder / "test_data_set_0")
        names = [value.name for value in proto.graph.input]
        yield Case(test.name, proto, dict(zip(names, inputs, strict=False)))


def _stored_inputs(proto: onnx.ModelProto, folder: Path) -> list[Any]:
    arrays: list[Any] = []
    for index in range(len(list(folder.glob("input_*.pb")))):
        raw = (folder / f"input_{index}.pb").read_bytes()
        match proto.graph.input[index].type.WhichOneof("value"):
            case "sequence_type":
                arrays.append(numpy_helper.to_list(onnx.SequenceProto.FromString(raw)))
            case "optional_type":
                arrays.append(numpy_helper.to_optional(onnx.OptionalProto.FromString(raw)))
            case _:
                arrays.append(numpy_helper.to_array(onnx.TensorProto.FromString(raw)))
    return arrays
