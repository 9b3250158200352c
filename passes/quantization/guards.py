"""Keeping ONNX Runtime from running in integers what is meant to stay in float.

A guard is a LeakyRelu that does nothing. A float convolution before it takes it in; elsewhere it is
one pass over its input.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ocompress.ir import Graph, Node, Value

_REQUANTIZED = ("Conv", "Gemm", "ConvTranspose")
"""Operators whose float weights ONNX Runtime rounds when integers stand on both sides."""
_MOVED = ("MaxPool", "Reshape", "Transpose", "Squeeze", "Unsqueeze", "Slice")
"""Operators that ONNX Runtime moves a QuantizeLinear past, from their outputs to their inputs."""


def guard_floats(graphs: Iterable[Graph], excluded: Sequence[Node]) -> None:
    """Put guards into the graphs of a model whose integer operators are written.

    Args:
        graphs: The model's graphs, bodies included.
        excluded: Operators that the user wants in float, whatever stands around them.
    """
    for graph in graphs:
        _guard_pools(graph)
        _guard_float_weights(graph)
    for node in excluded:
        _guard_input(node)


def passed(value: Value) -> list[Node]:
    """Return the operators that a value's only reader, a QuantizeLinear, is moved past.

    The last one comes first. ONNX Runtime goes on while the operator is the only reader of its
    input.
    """
    found: list[Node] = []
    while (maker := value.producer) is not None:
        source = maker.input(0)
        if not maker.is_op(*_MOVED) or source is None or source.use_count > 1:
            break
        found.append(maker)
        value = source
    return found


def pool_to_guard(value: Value) -> Node | None:
    """Return the float MaxPool that would run on integers because a value is quantized.

    Its kernel for integers is many times slower than the float one where no integer convolution
    is before it.
    """
    behind = passed(value)
    pools = [node for node in behind if node.is_op("MaxPool")]
    if not pools:
        return None
    source = behind[-1].input(0)
    made = source.producer if source is not None else None
    return None if made is not None and made.is_op("DequantizeLinear") else pools[0]


def _guard_pools(graph: Graph) -> None:
    for quantize in [n for n in graph.nodes if n.is_op("QuantizeLinear")]:
        value = quantize.input(0)
        alone = value is not None and value.use_count == 1
        pool = pool_to_guard(value) if value is not None and alone else None
        if pool is not None:
            reader, index = next(iter(pool.output.users))
            _guard(reader, index)


def _guard_float_weights(graph: Graph) -> None:
    """Keep ONNX Runtime from rounding the weights of float operators between integers.

    It turns DequantizeLinear, Conv with float weights, Relu or Clip, QuantizeLinear into an
    integer convolution with weights of its own making, per tensor and over the full range; also
    where the QuantizeLinear stands behind operators that it is moved past.
    """
    for node in graph.nodes:
        if not node.is_op(*_REQUANTIZED):
            continue
        data, weight = node.input(0), node.input(1)
        if data is None or weight is None or weight.constant is None or data.producer is None:
            continue
        if not data.producer.is_op("DequantizeLinear"):
            continue
        for reader, index in _quantized_after(node.output):
            _guard(reader, index)


def _guard_input(node: Node) -> None:
    """Keep ONNX Runtime from running an operator on integers because its neighbours do.

    It would if all inputs come from DequantizeLinear.
    """
    values = [v for v in node.inputs if v is not None]
    makers = [v.producer for v in values if v.constant is None]
    if node.graph is None or not all(m is not None and _restores(m) for m in makers):
        return
    for index, value in enumerate(node.inputs):
        if value is not None and value.constant is None:
            name = f"{value.name}_guard"
            guard = node.graph.add_op("LeakyRelu", [value], name=name, attrs={"alpha": 1.0})
            node.set_input(index, guard.output)
            return


def _restores(maker: Node) -> bool:
    return maker.is_op("DequantizeLinear")


def _quantized_after(value: Value) -> list[tuple[Node, int]]:
    """Return where to part a value from each QuantizeLinear after it, by reader and position."""
    found: list[tuple[Node, int]] = []
    for node, index in value.users:
        if node.is_op("QuantizeLinear"):
            found.append((node, index))
        elif node.is_op("Relu", "Clip"):
            found.extend(_quantized_after(node.output))
        elif node.is_op(*_MOVED) and index == 0 and _quantized_after(node.output):
            found.append((node, index))
    return found


def _guard(reader: Node, index: int) -> None:
    value = reader.input(index)
    assert value is not None
    assert reader.graph is not None
    maker = value.producer
    if maker is not None and maker.is_op("Relu"):
        maker.op_type = "LeakyRelu"
        maker.set_attr("alpha", 0.0)
        return
    name = f"{value.name}_guard"
    guard = reader.graph.add_op("LeakyRelu", [value], name=name, attrs={"alpha": 1.0})
    reader.set_input(index, guard.output)
