"""Models that compute in 16-bit floats, made to compute in float32 without larger files.

ONNX Runtime's processors have few kernels for 16-bit floats and cast around most operators anyway;
integer kernels take float32 only. Weights stay what they are in the file, behind a Cast.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from ocompress.diagnostics import Severity
from ocompress.ir import DType, Facet, Graph, Model, Node, Value, packed
from ocompress.pipeline import Context, Outcome

_NARROW = (DType.FLOAT16, DType.BFLOAT16)
_SMALLEST = 128
"""Elements below which a Cast takes what it saves."""
_TYPE_ATTRIBUTES = {
    "Cast": "to",
    **dict.fromkeys(
        (
            *("EyeLike", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"),
            *("Multinomial", "Bernoulli", "HannWindow", "HammingWindow", "BlackmanWindow"),
        ),
        "dtype",
    ),
    **dict.fromkeys(
        ("HannWindow", "HammingWindow", "BlackmanWindow", "MelWeightMatrix"), "output_datatype"
    ),
    "SequenceEmpty": "dtype",
    "LayerNormalization": "stash_type",
}
"""Attributes that name the type of what an operator makes, or computes in."""


def in_float32(model: Model, ctx: Context, work: Callable[[Model, Context], Outcome]) -> Outcome:
    """Do work that needs float32 on a model that may compute in 16-bit floats.

    Args:
        model: Changed; as it was where the work changes nothing.
        ctx: Told what was done.
        work: Changes a model in place.
    """
    if not is_narrow(model):
        return work(model, ctx)
    why = why_not_widened(model)
    if why:
        ctx.remark(Severity.DECLINED, "not-float32", f"it computes in 16-bit floats, and {why}")
        return Outcome()
    before = model.clone()
    widen(model)
    ctx.analyses.invalidate(Facet.ALL)
    outcome = work(model, ctx)
    if not outcome:
        model.become(before)
        ctx.analyses.invalidate(Facet.ALL)
        return outcome
    what = "what computed in 16-bit floats computes in float32; weights stay as they were stored"
    ctx.remark(Severity.NOTE, "computes-in-float32", what)
    changed = outcome.changed | Facet.TOPOLOGY | Facet.WEIGHTS | Facet.NAMES
    return replace(outcome, changed=changed)


def widened(model: Model) -> Model:
    """Return a model that computes in float32: the same one, or a changed clone where it can be."""
    if not is_narrow(model) or why_not_widened(model):
        return model
    clone = model.clone()
    widen(clone)
    return clone


def is_narrow(model: Model) -> bool:
    """Whether a model has weights in 16-bit floats that no Cast makes float32 of."""
    return any(
        value.constant is not None and value.dtype in _NARROW and value.constant.size >= _SMALLEST
        for graph in model.graph.graphs()
        for value in graph.initializers.values()
    )


def why_not_widened(model: Model) -> str:
    """Return why a model cannot be widened, empty if it can."""
    if model.functions:
        return "it has functions of its own"
    for _, node in model.nodes():
        for value in (*node.inputs, *node.outputs):
            if value is not None and value.dtype is None and value.type_proto is not None:
                return f"{value.name!r} is a sequence or a map"
    return ""


def widen(model: Model) -> None:
    """Make a model compute in float32 where it does in 16-bit floats; the interface stays.

    Args:
        model: One for which `why_not_widened` has no objection; types should be inferred.
    """
    for graph in model.graph.graphs():
        for value in list(graph.initializers.values()):
            _widen_constant(value, graph)
        for node in graph.nodes:
            _widen_attributes(node)
        for value in _inner(graph, main=graph is model.graph):
            if value.dtype in _NARROW:
                value.set_type(DType.FLOAT, value.shape)
    for value in model.graph.inputs:
        if value.dtype in _NARROW:
            _cast_input(value, model.graph)
    for value in dict.fromkeys(model.graph.outputs):
        if value.dtype in _NARROW and value.producer is not None:
            _cast_output(value, model.graph)
    model.sort()


def _inner(graph: Graph, *, main: bool) -> Iterator[Value]:
    """Yield what is made in a graph, without what belongs to the interface of the model."""
    if not main:
        yield from graph.inputs
    for node in graph.nodes:
        yield from (v for v in node.outputs if v is not None and not (main and v.is_output))


def _widen_constant(value: Value, graph: Graph) -> None:
    array, dtype = value.data, value.dtype
    if array is None or dtype not in _NARROW or value.is_input or value.is_output:
        return
    value.data = array.astype(np.float32)
    if array.size >= _SMALLEST:
        packed.cast(value, dtype, graph)


def _widen_attributes(node: Node) -> None:
    name = _TYPE_ATTRIBUTES.get(node.op_type)
    if name is not None and not node.domain and node.attr(name) in map(int, _NARROW):
        node.set_attr(name, int(DType.FLOAT))
    for key in ("value", "fill_value"):
        held = node.attr(key)
        if isinstance(held, np.ndarray) and DType.of(held) in _NARROW:
            node.set_attr(key, held.astype(np.float32))


def _cast_input(value: Value, graph: Graph) -> None:
    readers = value.users
    if not readers:
        return
    wide = graph.add_op(
        "Cast", [value], name=f"{value.name}_float", attrs={"to": int(DType.FLOAT)}
    ).output
    wide.set_type(DType.FLOAT, value.shape)
    for node, index in readers:
        node.set_input(index, wide)


def _cast_output(value: Value, graph: Graph) -> None:
    dtype, name, shape = value.dtype, value.name, value.shape
    assert dtype is not None
    graph.rename(value, graph.names.fresh(f"{name}_float"))
    value.set_type(DType.FLOAT, shape)
    narrow = graph.add_op("Cast", [value], name=f"{name}_cast", attrs={"to": int(dtype)}).output
    narrow.set_type(dtype, shape)
    graph.rename(narrow, name)
    graph.set_outputs(narrow if v is value else v for v in graph.outputs)
