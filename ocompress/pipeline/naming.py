"""Checking that options name something."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from fnmatch import fnmatchcase

from ocompress.errors import OptionError
from ocompress.ir import Model


def check_patterns(
    model: Model, patterns: Sequence[str], source: str, option: str = "exclude"
) -> None:
    """Check that every pattern of an option matches a node.

    Args:
        model: Has the nodes.
        patterns: Globs of node labels.
        source: Name of the pass, for the message.
        option: The option, for the message.

    Raises:
        OptionError: Naming the nearest spelling.
    """
    check_names([n.label for _, n in model.nodes()] if patterns else [], patterns, source, option)


def check_names(
    labels: Sequence[str], patterns: Sequence[str], source: str, option: str = "exclude"
) -> None:
    """Check that every pattern of an option matches one of some labels.

    Raises:
        OptionError: Naming the nearest spelling.
    """
    for pattern in patterns:
        if not any(fnmatchcase(label, pattern) for label in labels):
            near = difflib.get_close_matches(pattern, labels, 3, 0.4)
            hint = f"; close are {', '.join(map(repr, near))}" if near else ""
            msg = f"{source}: {option} names {pattern!r}, which matches no layer{hint}"
            raise OptionError(msg)


def matches(label: str, patterns: Sequence[str]) -> bool:
    """Whether a node's label matches one of some globs."""
    return any(fnmatchcase(label, pattern) for pattern in patterns)


def check_known(given: Sequence[str], known: Sequence[str], source: str, option: str) -> None:
    """Check that an option names nothing but what there is.

    Raises:
        OptionError: Naming what there is.
    """
    for name in given:
        if name not in known:
            msg = f"{source}: {option} names {name!r}, which is none of {', '.join(known)}"
            raise OptionError(msg)
