"""A small builder of ONNX graphs with seeded weights, for tests."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto as T
from onnx import helper, numpy_helper

from ocompress.ir import Model, from_proto

Array = np.ndarray


class Builder:
    """Collects nodes and weights of one graph; `model` finishes it."""

    def __init__(self, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.inits: list[onnx.TensorProto] = []
        self.inputs: list[onnx.ValueInfoProto] = []
        self.outputs: list[onnx.ValueInfoProto] = []
        self._count = 0

    def input(self, name: str, shape: Any, dtype: int = T.FLOAT) -> str:
        self.inputs.append(helper.make_tensor_value_info(name, dtype, shape))
        return name

    def output(self, name: str, shape: Any = None, dtype: int = T.FLOAT) -> None:
        self.outputs.append(helper.make_tensor_value_info(name, dtype, shape))

    def const(self, array: Any, name: str = "") -> str:
        name = name or self._fresh("w")
        self.inits.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def weight(self, *shape: int, scale: float = 0.0, dtype: Any = np.float32) -> str:
        """Add a seeded normal weight, scaled by its fan-in unless `scale` is given."""
        fan_in = max(1, int(np.prod(shape[1:])))
        data = self.rng.standard_normal(shape) * (scale or fan_in**-0.5)
        return self.const(data.astype(dtype))

    def positive(self, *shape: int) -> str:
        return self.const(self.rng.uniform(0.5, 1.5, shape).astype(np.float32))

    def op(self, op_type: str, *inputs: str, to: str = "", domain: str = "", **attrs: Any) -> str:
        to = to or self._fresh(op_type.lower())
        node = helper.make_node(op_type, list(inputs), [to], name=to, domain=domain, **attrs)
        self.nodes.append(node)
        return to

    def ops(self, op_type: str, inputs: list[str], outputs: list[str], **attrs: Any) -> None:
        self.nodes.append(helper.make_node(op_type, inputs, outputs, name=outputs[0], **attrs))

    def batch_norm(self, x: str, channels: int, to: str = "") -> str:
        scale, bias, mean = self.positive(channels), self.weight(channels), self.weight(channels)
        return self.op("BatchNormalization", x, scale, bias, mean, self.positive(channels), to=to)

    def graph(self, name: str = "g") -> onnx.GraphProto:
        return helper.make_graph(self.nodes, name, self.inputs, self.outputs, self.inits)

    def proto(self, opset: int = 17, ir_version: int = 8, **domains: int) -> onnx.ModelProto:
        imports = [helper.make_opsetid("", opset)]
        imports += [helper.make_opsetid(d.replace("_", "."), v) for d, v in domains.items()]
        return helper.make_model(
            self.graph(), opset_imports=imports, ir_version=ir_version, producer_name="tests"
        )

    def model(self, opset: int = 17, ir_version: int = 8, **domains: int) -> Model:
        return from_proto(self.proto(opset, ir_version, **domains))

    def _fresh(self, hint: str) -> str:
        self._count += 1
        return f"{hint}{self._count}"


def feeds(model: Model, seed: int = 0, batch: int = 3) -> dict[str, Array]:
    """Make seeded feeds for the inputs that have no default; symbolic extents become `batch`."""
    rng = np.random.default_rng(seed)
    made: dict[str, Array] = {}
    for value in model.graph.inputs:
        if value.data is not None or value.dtype is None:
            continue
        shape = [d if isinstance(d, int) else batch for d in value.shape or ()]
        kind = value.dtype.numpy
        if kind.kind == "b":
            made[value.name] = rng.integers(0, 2, shape).astype(bool)
        elif kind.kind in "iu":
            made[value.name] = rng.integers(0, 3, shape).astype(kind)
        else:
            made[value.name] = rng.standard_normal(shape).astype(kind)
    return made


class InMemory:
    """A `Dataset` over feeds made by `feeds`, for passes that want data."""

    def __init__(self, batches: Sequence[Mapping[str, Array]], labels: Array | None = None) -> None:
        self.batches = list(batches)
        self.labels = labels
        self.source = "memory"

    @property
    def samples(self) -> int:
        return sum(_samples(f) for f in self.batches)

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Mapping[str, Array]]:
        return iter(self.batches)

    def take(self, samples: int) -> InMemory:
        kept: list[Mapping[str, Array]] = []
        for feed in self.batches:
            if kept and sum(_samples(f) for f in kept) + _samples(feed) > samples:
                break
            kept.append(feed)
        return InMemory(kept, self.labels)


def _samples(feed: Mapping[str, Array]) -> int:
    return max((len(a) if a.ndim else 1 for a in feed.values()), default=1)
