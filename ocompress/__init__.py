"""ocompress: a compression compiler for neural networks that are already trained.

The public front: what is in `__all__` stays. Everything is loaded when it is first used, so
that importing the package is quick and needs no runtime.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ocompress import errors
    from ocompress.front import (
        Budget,
        load,
        load_archive,
        optimize,
        pack,
        profile,
        save,
        sweep,
        unpack,
        validate,
    )
    from ocompress.ir import Model
    from ocompress.pipeline import Context, Outcome, Pass, Pipeline, option

__version__ = "0.1.0"

__all__ = [
    "Budget",
    "Context",
    "Model",
    "Outcome",
    "Pass",
    "Pipeline",
    "__version__",
    "errors",
    "load",
    "load_archive",
    "optimize",
    "option",
    "pack",
    "profile",
    "save",
    "sweep",
    "unpack",
    "validate",
]

_HOMES = {
    "ocompress.front": (
        "Budget",
        "load",
        "load_archive",
        "optimize",
        "pack",
        "profile",
        "save",
        "sweep",
        "unpack",
        "validate",
    ),
    "ocompress.ir": ("Model",),
    "ocompress.pipeline": ("Context", "Outcome", "Pass", "Pipeline", "option"),
}


def __getattr__(name: str) -> Any:
    """Load a public name from the room it lives in."""
    if name == "errors":
        return importlib.import_module("ocompress.errors")
    for home, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(home), name)
    msg = f"module 'ocompress' has no attribute {name!r}"
    raise AttributeError(msg)


def __dir__() -> list[str]:
    """List the public names."""
    return sorted(__all__)
