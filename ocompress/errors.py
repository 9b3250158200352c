"""Every error the compiler raises on purpose, and the exit code each one means.

```
OcompressError              4  anything below; never raised itself
├── UsageError              2  the caller asked for something that cannot be
│   ├── OptionError         2  unknown option, bad value, contradictory options
│   ├── UnknownPassError    2  no pass of that name is registered
│   ├── RecipeError         2  a recipe or gate file does not parse
│   └── DataError           2  calibration or evaluation data do not fit the model
├── ModelError              3  the model file cannot be used
│   ├── InvalidModelError   3  not ONNX, truncated, inconsistent
│   └── UnsupportedModelError 3  valid, but needs something this build lacks
├── OutputError             4  the result could not be written
├── RuntimeFailureError     4  ONNX Runtime refused or broke
│   └── RuntimeFaultError   4  it broke what it runs without optimizing it: a fault of its own
├── TimeLimitError          4  a run of a model took longer than it may
├── WorkerLostError         4  worker after worker that ran a call was killed
└── PassError               4  a pass broke; names it and the passes before it
```

A message is one sentence that says what is wrong, where, and what to do about it.
"""

from __future__ import annotations

from typing import ClassVar


class OcompressError(Exception):
    """Root of the tree; the command line maps it to `exit_code` without a traceback."""

    exit_code: ClassVar[int] = 4


class UsageError(OcompressError):
    """The request itself is wrong."""

    exit_code = 2


class OptionError(UsageError):
    """An option is unknown, out of range, or contradicts another."""


class UnknownPassError(UsageError):
    """No pass of that name is registered."""


class RecipeError(UsageError):
    """A recipe or gate file cannot be read."""


class DataError(UsageError):
    """Calibration or evaluation data do not fit the model."""


class ModelError(OcompressError):
    """The model file cannot be used."""

    exit_code = 3


class InvalidModelError(ModelError):
    """The file is not a valid ONNX model."""


class UnsupportedModelError(ModelError):
    """The model is valid but uses something that this build cannot run or rewrite."""


class OutputError(OcompressError):
    """A result could not be written; nothing that existed before was touched."""


class RuntimeFailureError(OcompressError):
    """ONNX Runtime refused to load or failed to run a model."""


class TimeLimitError(OcompressError):
    """A run of a model took longer than it may, and was stopped."""


class WorkerLostError(OcompressError):
    """Worker after worker that ran a call was killed."""


class RuntimeFaultError(RuntimeFailureError):
    """ONNX Runtime's own optimizations broke a model that it runs without them."""


class PassError(OcompressError):
    """A pass failed; the message names it and the passes that ran before it."""
