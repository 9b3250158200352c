"""The backward model while it is built."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ocompress.analysis.gradients.concrete import Concrete
from ocompress.ir import DType, Graph, Model, Node, Value, edit, schemas

OPSET = 18
"""Operator set of backward models, whatever that of the model is."""
Extents = tuple[int, ...]
_SMALL = 64
"""Constants of so many elements are compared and shared."""


class StoppedError(Exception):
    """No gradient can pass; the message is a clause that says why, `its input 1 is ...`."""


class Tape:
    """Builds a model from activations and seeds to gradients, all of them float32.

    Values of the forward model are looked up with `forward`, which makes them inputs or, where
    only shapes decide about them, constants. The methods that return a `Value` return one of the
    backward model.

    Attributes:
        concrete: The forward model's shapes and fixed values.
        opset: Operator set of the forward model.
        taken: Names of the forward values that must be fed.
    """

    def __init__(self, concrete: Concrete, opset: int, wanted: set[str]) -> None:
        """Start an empty tape.

        Args:
            concrete: The forward model's shapes and fixed values.
            opset: Operator set of the forward model.
            wanted: Names of the forward values that need a gradient.
        """
        self.concrete = concrete
        self.opset = opset
        self.taken: dict[str, str] = {}
        self._wanted = wanted
        self._graph = Graph("backward")
        self._held: dict[str, Value] = {}
        self._consts: dict[tuple[str, Extents, bytes], Value] = {}

    # -- the forward model --------------------------------------------------------------------

    def wants(self, value: Value | None) -> bool:
        """Whether a forward value needs a gradient."""
        return value is not None and value.name in self._wanted

    def shape(self, value: Value | None) -> Extents:
        """Return the shape of a forward value.

        Raises:
            StoppedError: If it is not known, as the value is omitted or no tensor.
        """
        if value is None or value.name not in self.concrete.shapes:
            msg = "the shape of what it reads or makes is not known"
            raise StoppedError(msg)
        return self.concrete.shapes[value.name]

    def array(self, value: Value | None) -> np.ndarray | None:
        """Return a forward value that does not depend on what is fed, else None."""
        return None if value is None else self.concrete.arrays.get(value.name)

    def fixed(self, node: Node, index: int) -> np.ndarray:
        """Return a forward input that does not depend on what is fed.

        Raises:
            StoppedError: If it does.
        """
        array = self.array(node.input(index))
        if array is None:
            msg = f"its input {index} is computed from the data"
            raise StoppedError(msg)
        return array

    def ints(self, node: Node, name: str, index: int) -> list[int] | None:
        """Return whole numbers that older opsets take as an attribute and newer as an input.

        Returns:
            None if both are absent.

        Raises:
            StoppedError: If the input is computed from the data.
        """
        given = node.attr(name)
        if given is not None:
            return [int(v) for v in np.atleast_1d(given)]
        if node.input(index) is None:
            return None
        return [int(v) for v in self.fixed(node, index).reshape(-1)]

    def forward(self, value: Value | None) -> Value:
        """Return a forward value in the backward model; floats of any width as float32."""
        assert value is not None
        array = self.array(value)
        if array is not None and value.name not in self._held:
            self._held[value.name] = self.const(array)
        if value.name not in self._held:
            kind = DType.FLOAT if value.dtype is None or value.dtype.is_float else value.dtype
            fed = self._input(value.name, kind, self.shape(value))
            self._held[value.name] = fed
            self.taken[value.name] = fed.name
        return self._held[value.name]

    # -- building -----------------------------------------------------------------------------

    def seed(self, output: Value) -> Value:
        """Add an input for the gradient at a formal output of the forward model."""
        return self._input(f"seed_{output.name}", DType.FLOAT, self.shape(output))

    def const(self, array: np.ndarray | Sequence[float]) -> Value:
        """Add a constant; floats of any width become float32."""
        data = np.asarray(array)
        if data.dtype.kind == "f" or data.dtype.name == "bfloat16":
            data = data.astype(np.float32)
        if data.size > _SMALL:
            return self._graph.constant("c", data)
        key = data.dtype.str, data.shape, data.tobytes()
        if key not in self._consts:
            self._consts[key] = self._graph.constant("c", data)
        return self._consts[key]

    def scalar(self, number: float) -> Value:
        """Add a float32 constant of rank 0."""
        return self.const(np.asarray(number, np.float32))

    def integers(self, numbers: Sequence[int]) -> Value:
        """Add an int64 constant of rank 1."""
        return self.const(np.asarray(numbers, np.int64))

    def op(self, op_type: str, *inputs: Value | None, **attrs: Any) -> Value:
        """Add a node with one output."""
        return self.ops(op_type, 1, *inputs, **attrs)[0]

    def ops(self, op_type: str, outputs: int, *inputs: Value | None, **attrs: Any) -> list[Value]:
        """Add a node with several outputs."""
        node = self._graph.add_op(
            op_type, inputs, name=op_type.lower(), outputs=outputs, attrs=attrs
        )
        return [v for v in node.outputs if v is not None]

    def reshape(self, value: Value, shape: Sequence[int]) -> Value:
        """Give a value another shape of as many elements; a 0 means an extent of 0."""
        return self.op("Reshape", value, self.integers(shape), allowzero=1)

    def transpose(self, value: Value, order: Sequence[int]) -> Value:
        """Reorder axes."""
        return self.op("Transpose", value, perm=list(order))

    def scale(self, value: Value, factor: float) -> Value:
        """Multiply by a number."""
        return value if factor == 1 else self.op("Mul", value, self.scalar(factor))

    def total(self, value: Value, axes: Sequence[int]) -> Value:
        """Sum over axes, which stay with extent 1."""
        return self.op("ReduceSum", value, self.integers(axes), keepdims=1)

    def mean(self, value: Value, axes: Sequence[int]) -> Value:
        """Average over axes, which stay with extent 1."""
        return self.op("ReduceMean", value, self.integers(axes), keepdims=1)

    def where(self, condition: Value, value: Value) -> Value:
        """Keep `value` where the condition holds and put 0 elsewhere.

        A product, as ONNX Runtime takes several times as long for a Where.
        """
        return self.op("Mul", value, self.op("Cast", condition, to=int(DType.FLOAT)))

    def zeros(self, shape: Sequence[int]) -> Value:
        """Make zeros of a shape when the model runs, so that they take no room in it."""
        return self.op("Expand", self.scalar(0), self.integers(shape))

    def spread(self, value: Value, shape: Sequence[int]) -> Value:
        """Broadcast to a shape."""
        return self.op("Expand", value, self.integers(shape))

    def sum_to(self, value: Value, present: Extents, wanted: Extents) -> Value:
        """Undo broadcasting: sum a value of shape `present` down to shape `wanted`."""
        if present == wanted:
            return value
        lead = len(present) - len(wanted)
        axes = list(range(lead))
        axes += [lead + i for i, d in enumerate(wanted) if d == 1 and present[lead + i] != 1]
        summed = self.total(value, axes) if axes else value
        return self.reshape(summed, wanted) if lead else summed

    def finish(self, outputs: Sequence[Value]) -> Model:
        """Return the model that makes these values; what none of them needs stays out."""
        graph = self._graph
        graph.set_outputs(outputs)
        edit.remove_dead(graph)
        graph.inputs = [v for v in graph.inputs if v.use_count]
        read = {v.name for v in graph.inputs}
        self.taken = {name: fed for name, fed in self.taken.items() if fed in read}
        model = Model(graph, {"": OPSET})
        model.shell.ir_version = schemas.lowest_ir_version(OPSET)
        return model

    def _input(self, name: str, kind: DType, shape: Extents) -> Value:
        value = Value(self._graph.names.fresh(f"in_{name}"), dtype=kind, shape=shape)
        value.is_input = True
        self._graph.inputs.append(value)
        return value
