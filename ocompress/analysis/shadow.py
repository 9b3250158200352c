"""Float copies of quantized layers beside them, on the very inputs that they get.

What such a copy makes differs from what the layer makes by the layer's own error alone; the
noise that its inputs carry reaches both.
"""

from __future__ import annotations

from collections.abc import Mapping

from ocompress.analysis.quantized import Quantization, QuantizedLayer
from ocompress.ir import Graph, Model, Node, Value, query


def add_shadows(
    candidate: Model, reference: Model, found: Quantization, names: Mapping[str, str]
) -> dict[str, str]:
    """Add a float copy of each quantized layer that the float model has under the same name.

    An input that only this layer and its like round (it comes from a float node or from outside)
    is read as it was before, so that rounding it counts as the layer's own error.

    Args:
        candidate: A clone of the model that `found` was read off; copies are added.
        reference: The float model, which the weights come from.
        found: What was read off the quantized model.
        names: Name in the float model of the values of the quantized one.

    Returns:
        Name of the copy's value by name of the layer's value.
    """
    floats = {(n.label, n.op_type): n for _, n in reference.nodes()}
    mine = {(n.label, n.op_type): n for _, n in candidate.nodes()}
    rounded = {name for layer in found.layers if layer.quantized for name in layer.outputs}
    made: dict[str, str] = {}
    for layer in found.layers:
        key = layer.node.label, layer.node.op_type
        if not layer.quantized or key not in floats or len(layer.outputs) != 1:
            continue
        copied = _shadow(mine[key], floats[key], layer, rounded, names)
        if copied is not None:
            made[layer.outputs[0]] = copied.name
    return made


def _shadow(
    node: Node, original: Node, layer: QuantizedLayer, rounded: set[str], names: Mapping[str, str]
) -> Value | None:
    graph = node.graph
    if graph is None or original.bodies:
        return None
    data = dict(layer.data)
    inputs: list[Value | None] = []
    for index, value in enumerate(original.inputs):
        if value is None:
            inputs.append(None)
        elif value.constant is not None:
            inputs.append(graph.constant(f"{node.label}_shadow", value.constant))
        elif index in data and names.get(data[index]) == value.name:
            inputs.append(_source(node, index, data[index] in rounded))
        else:
            return None
    wanted = names.get(layer.outputs[0])
    made = _copy(graph, original, inputs, node.label)
    if wanted == original.output.name:
        return made
    after = query.only_reader(original.output)
    if after is None or after.output.name != wanted:
        return None
    return _copy(graph, after, [made, *_limits(graph, after)], node.label)


def _source(node: Node, index: int, made_by_integers: bool) -> Value | None:
    value = node.input(index)
    restore = query.made_by(value, "DequantizeLinear")
    quantize = query.made_by(restore.input(0), "QuantizeLinear") if restore is not None else None
    if made_by_integers or quantize is None:
        return value
    return quantize.input(0)


def _limits(graph: Graph, node: Node) -> list[Value | None]:
    arrays = [query.constant(node, index) for index in range(1, len(node.inputs))]
    return [None if a is None else graph.constant(f"{node.label}_limit", a) for a in arrays]


def _copy(graph: Graph, node: Node, inputs: list[Value | None], label: str) -> Value:
    copy = graph.add_op(node.op_type, inputs, name=f"{label}_shadow", domain=node.domain)
    for key, attribute in node.attributes.items():
        copy.set_attr(key, attribute)
    copy.output.set_type(node.output.dtype, node.output.shape)
    return copy.output
