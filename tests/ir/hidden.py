"""Models whose bodies give values of their own the names of outer ones, which hides those.

Each is written with a mark for the names inside: without one they hide outer names, with one all
names differ, which is what has to be computed (ONNX Runtime does not load all that hide).
"""

from __future__ import annotations

import numpy as np
from onnx import FunctionProto, GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

info = helper.make_tensor_value_info
node = helper.make_node
FLOAT, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL
ONE, TWO = np.ones(4, np.float32), np.full(4, 2, np.float32)


def const(name: str, value: object, dtype: type = np.float32) -> TensorProto:
    return numpy_helper.from_array(np.asarray(value, dtype), name)


def model(
    nodes: list[NodeProto], constants: list[TensorProto], *functions: FunctionProto
) -> ModelProto:
    graph = helper.make_graph(
        nodes, "main", [info("x", FLOAT, [4])], [info("y", FLOAT, [4])], constants
    )
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("my", 1)]
    return helper.make_model(graph, functions=functions, opset_imports=imports, ir_version=8)


def loop_body(
    nodes: list[NodeProto], state: str, after: str, *constants: TensorProto, mark: str
) -> GraphProto:
    """Return a body that goes on as long as its caller said."""
    nodes = [*nodes, node("Identity", [f"go{mark}"], [f"go_on{mark}"])]
    inputs = [info(f"it{mark}", INT64, []), info(f"go{mark}", BOOL, []), info(state, FLOAT, [4])]
    outputs = [info(f"go_on{mark}", BOOL, []), info(after, FLOAT, [4])]
    return helper.make_graph(nodes, "body", inputs, outputs, constants)


STEPS = [const("n", 3, np.int64), const("yes", True, np.bool_)]


def loop_state(m: str) -> ModelProto:
    """State and constant of the body hide outer values; its 'w' is equal to an outer constant."""
    inner = [node("Mul", [f"h{m}", f"w{m}"], ["m"]), node("Add", ["m", "v"], ["next"])]
    nodes = [
        node("Add", ["x", "two"], ["h"]),
        node("Mul", ["h", "w"], ["v"]),
        node("Loop", ["n", "yes", "v"], ["out"],
             body=loop_body(inner, f"h{m}", "next", const(f"w{m}", TWO), mark=m)),
        node("Sub", ["out", "h"], ["y"]),
    ]  # fmt: skip
    return model(nodes, [const("w", ONE), const("two", TWO), *STEPS])


def made_in_body(m: str) -> ModelProto:
    """A node of the body makes a value of an outer name, which then is the body's output."""
    inner = [node("Add", ["s", "v"], [f"t{m}"]), node("Neg", [f"t{m}"], [f"v_1{m}"])]
    nodes = [
        node("Neg", ["x"], ["v"]),
        node("Neg", ["v"], ["t"]),
        node("Abs", ["x"], ["v_1"]),
        node("Loop", ["n", "yes", "v_1"], ["out"], body=loop_body(inner, "s", f"v_1{m}", mark=m)),
        node("Add", ["out", "t"], ["y"]),
    ]
    return model(nodes, STEPS)


def nested(m: str) -> ModelProto:
    """The inner body hides names of the body between, which hides some of the main graph."""
    inner = loop_body(
        [node("Mul", [f"h{m}{m}", f"k{m}{m}"], ["h_next"])], f"h{m}{m}", "h_next",
        const(f"k{m}{m}", TWO), mark=m + m,
    )  # fmt: skip
    middle = loop_body(
        [
            node("Neg", [f"h{m}"], [f"k{m}"]),
            node("Loop", ["n", f"go{m}", f"k{m}"], [f"h_1{m}"], body=inner),
        ],
        f"h{m}", f"h_1{m}", mark=m,
    )  # fmt: skip
    nodes = [
        node("Relu", ["x"], ["h"]),
        node("Add", ["h", "k"], ["h_1"]),
        node("Loop", ["n", "yes", "h"], ["out"], body=middle),
        node("Add", ["out", "h_1"], ["y"]),
    ]
    return model(nodes, [const("k", TWO), *STEPS])


def scan(m: str) -> ModelProto:
    """Formal inputs and outputs of a Scan's body have outer names."""
    body = helper.make_graph(
        [
            node("Add", [f"x{m}", f"v{m}"], [f"sum{m}"]),
            node("Add", [f"sum{m}", f"w{m}"], [f"last{m}"]),
        ],
        "body",
        [info(f"x{m}", FLOAT, []), info(f"v{m}", FLOAT, [])],
        [info(f"sum{m}", FLOAT, []), info(f"last{m}", FLOAT, [])],
        [const(f"w{m}", 2)],
    )
    nodes = [
        node("Add", ["x", "w"], ["v"]),
        node("Scan", ["zero", "v"], ["last", "scanned"], body=body, num_scan_inputs=1),
        node("Add", ["scanned", "last"], ["sum"]),
        node("Add", ["sum", "two"], ["y"]),
    ]
    return model(nodes, [const("w", ONE), const("zero", 0), const("two", 2)])


def branches(m: str, *, taken: bool = False) -> ModelProto:
    """Both branches make 'v' and hold a constant 'w'; the condition is computed or constant."""
    made = []
    for operator, value in (("Add", TWO), ("Mul", ONE)):
        inner = [node(operator, ["h", f"w{m}"], [f"v{m}"]), node("Neg", [f"v{m}"], [f"w_1{m}"])]
        output = info(f"w_1{m}", FLOAT, [4])
        made.append(helper.make_graph(inner, "branch", [], [output], [const(f"w{m}", value)]))
    condition = "yes" if taken else "c"
    nodes = [
        node("Neg", ["x"], ["v"]),
        node("Mul", ["v", "w"], ["h"]),
        node("ReduceSum", ["x"], ["total"], keepdims=0),
        node("Greater", ["total", "zero"], ["c"]),
        node("If", [condition], ["i"], then_branch=made[0], else_branch=made[1]),
        node("Add", ["i", "v"], ["s"]),
        node("Add", ["s", "w_1"], ["y"]),
    ]
    return model(nodes, [const("w", TWO), const("w_1", ONE), const("zero", 0), *STEPS])


def branch_taken(m: str) -> ModelProto:
    """The branch becomes a part of the main graph."""
    return branches(m, taken=True)


def function(m: str) -> ModelProto:
    """Names inside the function are those of the caller, and its body hides its own ones."""
    inner = [node("Mul", [f"a{m}", f"h{m}"], [f"w{m}"])]
    nodes = [
        node("Constant", [], ["n"], value_int=3),
        node("Constant", [], ["yes"], value=const("", True, np.bool_)),
        node("Relu", ["a"], [f"h{m}"]),
        node("Loop", ["n", "yes", f"h{m}"], [f"y{m}"],
             body=loop_body(inner, f"a{m}", f"w{m}", mark=m)),
    ]  # fmt: skip
    imports = [helper.make_opsetid("", 17)]
    called = helper.make_function("my", "F", ["a"], [f"y{m}"], nodes, imports)
    calls = [
        node("Mul", ["x", "w"], ["h"]),
        node("F", ["h"], ["a"], domain="my"),
        node("F", ["a"], ["n"], domain="my"),
        node("Add", ["n", "h"], ["y"]),
    ]
    return model(calls, [const("w", TWO)], called)


KINDS = {
    made.__name__: made
    for made in (loop_state, made_in_body, nested, scan, branches, branch_taken, function)
}
