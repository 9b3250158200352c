"""Text that files carry and nothing reads."""

from __future__ import annotations

from collections.abc import Iterator

from ocompress.ir import Facet, Graph, Model, Node, Value
from ocompress.pipeline import Context, Outcome, Pass, option

_KINDS = ("docs", "metadata", "model-metadata")


class StripText(Pass):
    """Drop documentation strings and metadata entries, if asked to.

    Before: y = Relu(x), with the stack trace of the exporter as its documentation
    After:  y = Relu(x)
    Leaves alone: everything that `strip` does not name, and the metadata of the model as a whole
    unless it names `model-metadata`: programs read class names and versions there.
    Numerics: exact.
    """

    name = "strip-text"
    internal = True
    may_change = Facet.METADATA
    reads = Facet.METADATA

    strip: tuple[str, ...] = option(
        (),
        help="Text to drop: documentation strings (docs), entries of nodes, values and graphs "
        "(metadata), those of the model as a whole, which programs may read (model-metadata).",
        choices=_KINDS,
    )

    def run(self, model: Model, ctx: Context) -> Outcome:
        """Strip the main graph, bodies and functions."""
        counts: dict[str, int] = {}
        if "docs" in self.strip:
            counts["documentation strings dropped"] = _strip_docs(model)
        dropped = _strip_metadata(model) if "metadata" in self.strip else 0
        if "model-metadata" in self.strip:
            dropped += len(model.shell.metadata_props)
            model.shell.ClearField("metadata_props")
        counts["metadata entries dropped"] = dropped
        counts = {what: count for what, count in counts.items() if count}
        return Outcome(Facet.METADATA if counts else Facet.NONE, counts)


def _holders(model: Model) -> Iterator[Graph | Node | Value]:
    for graph in model.graph.graphs():
        yield graph
        yield from graph.inputs
        yield from (v for v in graph.initializers.values() if not v.is_input)
        for value in graph.initializers.values():
            yield from value.packed.leaves if value.packed is not None else ()
        for node in graph.nodes:
            yield node
            yield from (v for v in node.outputs if v is not None)


def _strip_docs(model: Model) -> int:
    dropped = 0
    for holder in _holders(model):
        dropped += bool(holder.doc)
        holder.doc = ""
        if isinstance(holder, Node):
            dropped += _strip_attributes(holder)
    if model.shell.doc_string:
        dropped += 1
        model.shell.ClearField("doc_string")
    return dropped + _strip_functions(model, "doc_string")


def _strip_attributes(node: Node) -> int:
    dropped = 0
    for name, attribute in list(node.attributes.items()):
        if attribute.doc_string:
            dropped += 1
            plain = type(attribute)()  # clones of a model share attributes
            plain.CopyFrom(attribute)
            plain.ClearField("doc_string")
            node.set_attr(name, plain)
    return dropped


def _strip_metadata(model: Model) -> int:
    dropped = 0
    for holder in _holders(model):
        dropped += len(holder.metadata)
        holder.metadata = {}
    return dropped + _strip_functions(model, "metadata_props")


def _strip_functions(model: Model, field: str) -> int:
    """Strip functions and their nodes, in copies: clones of a model share them."""
    dropped, kept = 0, []
    for function in model.functions:
        copy = type(function)()
        copy.CopyFrom(function)
        for holder in (copy, *copy.node, *copy.value_info):
            text = getattr(holder, field)
            dropped += bool(text) if field == "doc_string" else len(text)
            holder.ClearField(field)
        kept.append(copy)
    if dropped:
        model.functions = kept
    return dropped
