"""Damage: to bytes, to the fields of a message, and to lines of text."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

Rng = np.random.Generator

BYTES = (0x00, 0x01, 0x7F, 0x80, 0xFF)
INTEGERS = (-1, 0, 1, 2, 3, 7, 8, 13, 127, 255, 1 << 16, 1 << 31, (1 << 40) + 1, (1 << 63) - 1)
FLOATS = (0.0, -1.0, 1e-30, 1e30, 3.4e38, math.inf, -math.inf, math.nan)
TEXTS = (
    "",
    "x",
    "Relu",
    "Conv",
    "Loop",
    "axis",
    "ai.onnx",
    "com.microsoft",
    "a" * 300,
    "\x00",
    "ü",
)
_RAW_SKIPPED = 0.9
"""How often a choice of raw weights is taken back: most of a model's bytes say nothing new."""


def pick(rng: Rng, things: Any) -> Any:
    return things[int(rng.integers(len(things)))]


def damaged_bytes(content: bytes, rng: Rng) -> bytes:
    """Change one to three places of a file, mostly without a change of its length."""
    data = bytearray(content)
    for _ in range(1 + int(rng.integers(9)) // 6 + int(rng.integers(9)) // 8):
        at = int(rng.integers(len(data))) if data else 0
        length = int(rng.integers(1, 9))
        match int(rng.integers(3 if rng.random() < 0.7 else 7)):
            case 0 if data:
                data[at] ^= 1 << int(rng.integers(8))
            case 1 if data:
                data[at] = pick(rng, BYTES)
            case 2 if data:
                data[at] = int(rng.integers(256))
            case 3:
                data[at:at] = rng.integers(0, 256, length, np.uint8).tobytes()
            case 4:
                del data[at : at + length]
            case 5:
                data[at:at] = data[at : at + 8 * length]
            case _ if rng.random() < 0.3:
                del data[at:]
    return bytes(data)


def damaged_message(message: Message, rng: Rng) -> None:
    """Change one to three fields anywhere in a message, in place."""
    for _ in range(int(rng.integers(1, 4))):
        places = list(_places(message))
        owner, field = pick(rng, places)
        while field.name == "raw_data" and rng.random() < _RAW_SKIPPED:
            owner, field = pick(rng, places)
        try:
            _damage(owner, field, _texts(places), rng)
        except (UnicodeError, TypeError, ValueError):
            continue  # a value the field cannot hold


def _places(message: Message) -> Any:
    for field, value in message.ListFields():
        yield message, field
        if field.message_type is None:
            continue
        for inner in value if field.is_repeated else (value,):
            yield from _places(inner)


def _texts(places: list[tuple[Message, FieldDescriptor]]) -> list[str]:
    found = list(TEXTS)
    for owner, field in places:
        if field.type == FieldDescriptor.TYPE_STRING:
            value = getattr(owner, field.name)
            found += [v for v in (value if field.is_repeated else (value,)) if isinstance(v, str)]
    return found


def _damage(owner: Message, field: FieldDescriptor, texts: list[str], rng: Rng) -> None:
    if rng.random() < 0.15:
        owner.ClearField(field.name)
    elif field.is_repeated:
        _damage_list(getattr(owner, field.name), field, texts, rng)
    elif field.message_type is None:
        setattr(owner, field.name, _scalar(getattr(owner, field.name), field, texts, rng))


def _damage_list(entries: Any, field: FieldDescriptor, texts: list[str], rng: Rng) -> None:
    at = int(rng.integers(len(entries)))
    match int(rng.integers(4)):
        case 0:
            del entries[at]
        case 1 if field.message_type is not None:
            entries.add().CopyFrom(entries[at])
        case 1:
            entries.append(entries[at])
        case 2 if field.message_type is not None:
            entries[at].CopyFrom(pick(rng, entries))
        case _ if field.message_type is None:
            entries[at] = _scalar(entries[at], field, texts, rng)


def _scalar(value: Any, field: FieldDescriptor, texts: list[str], rng: Rng) -> Any:
    match field.type:
        case FieldDescriptor.TYPE_STRING:
            return pick(rng, texts)
        case FieldDescriptor.TYPE_BYTES:
            return damaged_bytes(value, rng)
        case FieldDescriptor.TYPE_FLOAT | FieldDescriptor.TYPE_DOUBLE:
            return pick(rng, FLOATS)
        case FieldDescriptor.TYPE_ENUM:
            return pick(rng, [v.number for v in field.enum_type.values])
    return value + int(rng.integers(-2, 3)) if rng.random() < 0.4 else pick(rng, INTEGERS)


LINES = (
    "min_agreement = nan", "x = ", "[", "[[a]]", "seed = -1", 'scale = "big"', "resize = [0, 0]",
    "mean = [1, 2, 3, 4]", "min_opset = 1e400", "max_bytes = '12 XB'", "\x00", "passes = 3", "= 1",
    "layout = 7", "crop = -5", "a.b.c = {}", "[outputs]", "[outputs.y]", "max_drop = true",
)  # fmt: skip
ENTRIES = (
    "-1", "0", "1e999", "nan", "true", '""', '"text"', "[]", "[1, 2]", "{}", "9" * 30,
    "9" * 400, "9" * 5000, "[" * 2000,
)  # fmt: skip


def damaged_text(text: str, rng: Rng) -> bytes:
    """Change a few lines of a text, or bytes of it."""
    if rng.random() < 0.3:
        return damaged_bytes(text.encode(), rng)
    lines = text.splitlines()
    for _ in range(int(rng.integers(1, 3))):
        at = int(rng.integers(len(lines) + 1))
        match int(rng.integers(4)):
            case 0:
                del lines[at : at + 1]
            case 1:
                lines.insert(at, pick(rng, LINES))
            case 2 if at < len(lines):
                lines.insert(at, lines[at])
            case _ if at < len(lines) and "=" in lines[at]:
                key, _, _ = lines[at].partition("=")
                lines[at] = f"{key}= {pick(rng, ENTRIES)}"
    return "\n".join(lines).encode()
