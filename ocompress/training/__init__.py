"""Training of ONNX models on the file itself, with PyTorch, which is an extra (`ocompress[tune]`).

Importing this package does not import PyTorch: its modules do, and whoever needs them asks
`require` first.
"""

from __future__ import annotations

import importlib.util

from ocompress.errors import UsageError


def is_available() -> bool:
    """Whether PyTorch is installed."""
    return importlib.util.find_spec("torch") is not None


def require(who: str) -> None:
    """Check that PyTorch is installed.

    Args:
        who: What needs it, for the message.

    Raises:
        UsageError: If it is not, with the command that installs it.
    """
    if not is_available():
        how = "pip install 'ocompress[tune]'"
        msg = f"{who} needs the package 'torch', which is not installed: {how}"
        raise UsageError(msg)
