"""Text in files: UTF-8 by the format, any bytes in practice.

Bytes that are no UTF-8 are held as lone surrogates, as Python does for names of files, and are
written back as they were.
"""

from __future__ import annotations

from collections.abc import Iterable

from google.protobuf.message import Message

from ocompress.ir import wire

_ERRORS = "surrogateescape"


def decoded(text: str | bytes) -> str:
    """Return the text of a protobuf field, which is read as bytes if it is no UTF-8."""
    return text if isinstance(text, str) else text.decode("utf-8", _ERRORS)


def encoded(text: str) -> bytes:
    """Return the bytes that a file has for a text."""
    return text.encode("utf-8", _ERRORS)


def is_clean(text: str) -> bool:
    """Whether a text is UTF-8 in a file, as other libraries want it."""
    return text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)


def readable(text: str) -> str:
    """Return a text that can be printed and passed on, the same unless bytes are no UTF-8."""
    return text if is_clean(text) else encoded(text).decode("utf-8", "backslashreplace")


def write(message: Message, field: str, text: str) -> None:
    """Set a text field of a message."""
    if is_clean(text):
        setattr(message, field, text)
    else:
        _merge(message, field, text)


def extend(message: Message, field: str, texts: Iterable[str]) -> None:
    """Append to a repeated text field of a message."""
    every = list(texts)
    if is_clean("".join(every)):
        getattr(message, field).extend(every)
        return
    for text in every:
        if is_clean(text):
            getattr(message, field).append(text)
        else:
            _merge(message, field, text)


def _merge(message: Message, field: str, text: str) -> None:
    """Go by the wire: the protobuf package itself takes no bytes that are no UTF-8."""
    content = encoded(text)
    number = message.DESCRIPTOR.fields_by_name[field].number
    message.MergeFromString(wire.key(number, len(content)) + content)
