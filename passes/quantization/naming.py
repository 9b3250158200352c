"""Checking that patterns of node names name something."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from fnmatch import fnmatchcase

from ocompress.errors import OptionError
from ocompress.ir import Model


def check_patterns(model: Model, patterns: Sequence[str], source: str) -> None:
    """Check that every pattern of the option `exclude` matches a node.

    Args:
        model: Has the nodes.
        patterns: Globs of node labels.
        source: Name of the pass, for the message.

    Raises:
        OptionError: Naming the nearest spelling.
    """
    labels = [node.label for _, node in model.nodes()] if patterns else []
    for pattern in patterns:
        if not any(fnmatchcase(label, pattern) for label in labels):
            near = difflib.get_close_matches(pattern, labels, 3, 0.4)
            hint = f"; near names are {', '.join(map(repr, near))}" if near else ""
            msg = f"{source}: exclude={pattern!r} matches no node of the model{hint}"
            raise OptionError(msg)
