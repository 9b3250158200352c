"""Finding passes: one entry point per package, `ocompress.passes`, holding a dict of strings."""

from __future__ import annotations

import difflib
import importlib
from functools import cache
from importlib.metadata import entry_points

from ocompress.errors import OcompressError, UnknownPassError
from ocompress.pipeline.base import Pass

GROUP = "ocompress.passes"


@cache
def table() -> dict[str, str]:
    """Return `name -> "module:Class"` of every installed package, sorted by name.

    Raises:
        OcompressError: If two packages register the same name.
    """
    found: dict[str, str] = {}
    owner: dict[str, str] = {}
    for point in sorted(entry_points(group=GROUP), key=lambda p: (p.name, p.value)):
        for name, where in point.load().items():
            if found.setdefault(name, where) != where:
                msg = f"pass {name!r} is registered by both {owner[name]!r} and {point.name!r}"
                raise OcompressError(msg)
            owner.setdefault(name, point.name)
    return dict(sorted(found.items()))


def find(name: str) -> type[Pass]:
    """Return the class of a registered pass.

    Raises:
        UnknownPassError: Naming the nearest spelling and the known passes.
    """
    known = table()
    if name not in known:
        near = difflib.get_close_matches(name, known, 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        visible = [n for n in known if not find(n).internal]
        msg = f"there is no pass named {name!r}{hint} (there are {', '.join(visible)})"
        raise UnknownPassError(msg)
    module, _, attribute = known[name].partition(":")
    cls = getattr(importlib.import_module(module), attribute)
    if not (isinstance(cls, type) and issubclass(cls, Pass) and cls.name == name):
        msg = f"{known[name]!r} is registered as pass {name!r} but is not a Pass of that name"
        raise OcompressError(msg)
    return cls


def all_passes() -> list[type[Pass]]:
    """Return every registered pass, by name."""
    return [find(name) for name in table()]
