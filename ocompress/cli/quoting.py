"""Noticing that the shell took a text of passes apart because it was not quoted."""

from __future__ import annotations

import re
from collections.abc import Sequence

_NAMES = ("-p", "--passes")
_QUOTED = re.compile(r'"[^"]*"')


def hint(words: Sequence[str]) -> str | None:
    """Return what to say of a call whose passes are not whole, None if they are.

    `prune{sparsity=0.5 smallest=0}` becomes two words, and of `prune{sparsity=0.5,smallest=0}`
    bash and zsh make `prunesparsity=0.5 prunesmallest=0`.

    Args:
        words: The arguments of the program.
    """
    for position, text in _values(words):
        rest = words[position:]
        if _open(text):
            whole = _joined([text, *rest])
            return _sentence(f"left {text!r} of it", whole or "prune{sparsity=0.5},quant")
        if "=" in text and "{" not in text:
            return _sentence(f"made {text!r} of it", "prune{sparsity=0.5},quant")
    return None


def _values(words: Sequence[str]) -> list[tuple[int, str]]:
    """Return each text of passes, and the position of the word behind it."""
    found = []
    for at, word in enumerate(words):
        name, equals, value = word.partition("=")
        if word in _NAMES and at + 1 < len(words):
            found.append((at + 2, words[at + 1]))
        elif equals and name == "--passes":
            found.append((at + 1, value))
    return found


def _open(text: str) -> bool:
    bare = _QUOTED.sub("", text)
    return bare.count("{") != bare.count("}")


def _joined(words: Sequence[str]) -> str:
    """Return the first words that are a whole together, empty if none are."""
    for count in range(2, len(words) + 1):
        text = " ".join(words[:count])
        if not _open(text):
            return text
    return ""


def _sentence(what: str, whole: str) -> str:
    return f"the shell split the passes and {what}; quote them: --passes '{whole}'"
