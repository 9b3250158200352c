"""Records of inner types in what is written: as the original's file had them."""

from __future__ import annotations

from collections.abc import Iterator

from ocompress.ir.model import Model
from ocompress.ir.serialized_size import serialized_bytes
from ocompress.ir.value import Value


def as_recorded(result: Model, original: Model) -> Model:
    """Leave out the types of inner values that the original did not record, unless it did of all.

    Passes infer them, runtimes do so again, and the records of a small model take a good part
    of its file.

    Args:
        result: What is about to be written; not changed.
        original: What came in.

    Returns:
        The result itself, or a clone of it with fewer records.
    """
    inner = list(_inner(original))
    known = {v.name for v in inner if v.type_proto is not None}
    if result is original or len(known) == len(inner):
        return result
    bare = result.clone()
    for value in _inner(bare):
        if value.name not in known:
            value.set_type_proto(None)
    return bare


def written_bytes(result: Model, original: Model) -> int:
    """Return the bytes of a file of a result, whose original is `original`."""
    return serialized_bytes(as_recorded(result, original))


def _inner(model: Model) -> Iterator[Value]:
    for _, node in model.nodes():
        for value in node.outputs:
            if value is not None and not value.is_output:
                yield value
