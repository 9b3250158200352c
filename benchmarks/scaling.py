"""Processor seconds of `canonicalize` on growing graphs; twice the nodes, twice the time.

Run: python benchmarks/scaling.py [NODES ...]
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from ocompress.analysis import AnalysisManager
from ocompress.diagnostics import Diagnostics
from ocompress.ir import Model, from_proto
from ocompress.pipeline import Context, find
from ocompress.targets import Arch, Target

SIZES = (2500, 5000, 10000, 20000)
TARGET = Target(name="benchmark", arch=Arch.ANY)


class Sketch:
    """Nodes and weights of a graph of one input and one output of the same shape."""

    def __init__(self) -> None:
        """Start empty."""
        self.nodes: list[object] = []
        self.weights: list[object] = []
        self.rng = np.random.default_rng(0)

    def weight(self, *shape: int) -> str:
        """Add a seeded weight and return its name."""
        return self.constant(self.rng.standard_normal(shape).astype(np.float32))

    def constant(self, array: np.ndarray) -> str:
        """Add a constant and return its name."""
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(array, name))
        return name

    def op(self, op_type: str, *inputs: str, **attrs: object) -> str:
        """Add a node and return the name of what it makes."""
        name = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(op_type, list(inputs), [name], name=name, **attrs))
        return name

    def model(self, last: str, extents: Sequence[int] = (8,)) -> Model:
        """Finish the graph with `last` as output; input and output are [n, *extents]."""
        self.nodes.append(helper.make_node("Identity", [last], ["y"], name="y"))
        shape = ["n", *extents]
        ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, shape) for n in ("x", "y")]
        graph = helper.make_graph(self.nodes, "g", ends[:1], ends[1:], self.weights)
        imports = [helper.make_opsetid("", 13)]
        return from_proto(helper.make_model(graph, opset_imports=imports, ir_version=8))


def chain(nodes: int) -> Model:
    """One node after the other: MatMul, Add, Relu, a Constant and a Mul, an Identity."""
    sketch, value = Sketch(), "x"
    while len(sketch.nodes) < nodes:
        value = sketch.op("MatMul", value, sketch.weight(8, 8))
        value = sketch.op("Relu", sketch.op("Add", value, sketch.weight(8)))
        factor = sketch.op("Constant", value_float=0.5)
        value = sketch.op("Identity", sketch.op("Mul", value, factor))
    return sketch.model(value)


def wide(nodes: int) -> Model:
    """Branches side by side that all read the input and one shared constant."""
    sketch = Sketch()
    shared = sketch.weight(8)
    branches = []
    while len(sketch.nodes) < nodes:
        scaled = sketch.op("Mul", "x", sketch.weight(8))
        branches.append(sketch.op("Sigmoid", sketch.op("Sub", scaled, shared)))
    return sketch.model(sketch.op("Sum", *branches))


def residual(nodes: int) -> Model:
    """Blocks that add their input to their output."""
    sketch, value = Sketch(), "x"
    while len(sketch.nodes) < nodes:
        inner = sketch.op("Relu", sketch.op("MatMul", value, sketch.weight(8, 8)))
        value = sketch.op("Add", value, sketch.op("MatMul", inner, sketch.weight(8, 8)))
    return sketch.model(value)


def foldable(nodes: int) -> Model:
    """Constant arithmetic that leaves a single weight."""
    sketch = Sketch()
    value = sketch.weight(8)
    while len(sketch.nodes) < nodes:
        value = sketch.op("Tanh", sketch.op("Add", value, sketch.weight(8)))
    return sketch.model(sketch.op("Add", "x", value))


def duplicates(nodes: int) -> Model:
    """The same computation over and over, with equal weights of different names."""
    sketch, branches = Sketch(), []
    while len(sketch.nodes) < nodes:
        sketch.rng = np.random.default_rng(0)
        branches.append(sketch.op("Relu", sketch.op("MatMul", "x", sketch.weight(8, 8))))
    return sketch.model(sketch.op("Sum", *branches))


GRAPHS: dict[str, Callable[[int], Model]] = {
    build.__name__: build for build in (chain, wide, residual, foldable, duplicates)
}


def seconds(model: Model) -> float:
    """Return the processor time of `canonicalize` on a model."""
    ctx = Context(target=TARGET, analyses=AnalysisManager(None), diagnostics=Diagnostics())
    start = time.process_time()
    ctx.run_one(find("canonicalize")(), model)
    return time.process_time() - start


def main() -> None:
    """Print a table of seconds, and the ratio of the last two columns."""
    sizes = [int(word) for word in sys.argv[1:]] or list(SIZES)
    print(f"{'graph':12}" + "".join(f"{size:>10}" for size in sizes) + f"{'ratio':>8}")
    for name, build in GRAPHS.items():
        times = [seconds(build(size)) for size in sizes]
        ratio = times[-1] / times[-2] if len(times) > 1 else float("nan")
        print(f"{name:12}" + "".join(f"{t:10.2f}" for t in times) + f"{ratio:8.2f}", flush=True)


if __name__ == "__main__":
    main()
