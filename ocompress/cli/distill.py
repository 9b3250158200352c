"""`ocompress distill`."""

from __future__ import annotations

import functools
from typing import Any

from ocompress.cli.optimize import optimize
from ocompress.errors import OptionError

TRAINING = "tune"


@functools.wraps(optimize, assigned=("__annotations__", "__module__"))
def distill(**given: Any) -> int:
    """Train a smaller model, without labels, to do what a model does, and write it.

    The student is made of the model itself, or given as a file. It is judged and reported on as
    what `optimize` makes, whose options all apply. --passes says what comes after: tune trains.
    """
    if not given["student"]:
        msg = "the student is missing; name one with --student, such as separable or width=0.5"
        raise OptionError(msg)
    if not given["passes"] and not given["recipe"]:
        given["passes"] = TRAINING
    return optimize(**given)
