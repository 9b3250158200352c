"""Dependency lists for build systems, in Makefile syntax as compilers write them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ocompress.io.named import is_file, is_folder, is_there


def depfile(made: Iterable[Path], needed: Iterable[Path]) -> str:
    """Return `made ...: needed ...`, names escaped as Make and Ninja read them."""
    outputs, inputs = (" ".join(map(_escape, dict.fromkeys(p))) for p in (made, needed))
    return f"{outputs}: {inputs}\n"


def module_files(*specs: object) -> list[Path]:
    """Return the files of the modules that `module:function` names; those of others are left out.

    Only the module itself counts, not what it imports. One in the working directory comes first,
    as where it is imported.
    """
    found = []
    for spec in specs:
        if isinstance(spec, str) and ":" in spec and not is_there(spec):
            name = spec.partition(":")[0]
            here = Path(*name.split(".")).with_suffix(".py")
            if name.replace(".", "").isidentifier() and is_file(here):
                found.append(here)
    return found


def data_files(spec: object) -> list[Path]:
    """Return the files behind what a user named as data; a function has none, nor has no name."""
    if not isinstance(spec, str | Path) or not str(spec):  # no name is not the folder at hand
        return []
    path = Path(spec)
    if is_folder(path):
        return sorted(p for p in path.rglob("*") if p.is_file())
    return [path] if is_file(path) else []


def _escape(path: Path) -> str:
    text = str(path).replace("\\", "\\\\") if " " in str(path) else str(path)
    for mark, escaped in (("$", "$$"), ("#", "\\#"), (" ", "\\ ")):
        text = text.replace(mark, escaped)
    return text
