"""Dependency lists for build systems, in Makefile syntax as compilers write them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path


def depfile(output: Path, needed: Iterable[Path]) -> str:
    """Return `output: needed ...`, names escaped as Make and Ninja read them."""
    return f"{_escape(output)}: {' '.join(_escape(p) for p in dict.fromkeys(needed))}\n"


def data_files(spec: object) -> list[Path]:
    """Return the files behind what a user named as data; a function has none, nor has no name."""
    if not isinstance(spec, str | Path) or not str(spec):  # no name is not the folder at hand
        return []
    path = Path(spec)
    if path.is_dir():
        return sorted(p for p in path.rglob("*") if p.is_file())
    return [path] if path.is_file() else []


def _escape(path: Path) -> str:
    text = str(path).replace("\\", "\\\\") if " " in str(path) else str(path)
    for mark, escaped in (("$", "$$"), ("#", "\\#"), (" ", "\\ ")):
        text = text.replace(mark, escaped)
    return text
