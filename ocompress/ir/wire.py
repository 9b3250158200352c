"""The little of protobuf's wire format that streaming a large file needs."""

from __future__ import annotations

from google.protobuf.message import Message

from ocompress.coding.varint import varint

_LENGTH_DELIMITED = 2


def key(field: int, size: int) -> bytes:
    """Return what stands before `size` bytes of a message or bytes field."""
    return varint(field << 3 | _LENGTH_DELIMITED) + varint(size)


def field_size(field: int, size: int) -> int:
    """Return the bytes that a field with `size` bytes of content takes."""
    return len(key(field, size)) + size


def split(message: Message, field: int) -> tuple[bytes, bytes]:
    """Serialize the fields numbered below `field` and those above it, `field` itself left out."""
    parts = []
    for keep_lower in (True, False):
        part = type(message)()
        part.CopyFrom(message)
        for descriptor, _ in message.ListFields():
            number = descriptor.number
            if number == field or (number < field) != keep_lower:
                part.ClearField(descriptor.name)
        parts.append(part.SerializeToString(deterministic=True))
    return parts[0], parts[1]
