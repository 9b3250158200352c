"""Models of gigabytes: judged without a second copy of their weights in memory."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from ocompress import validation
from ocompress.analysis.cost import Cost, count
from ocompress.errors import RuntimeFailureError
from ocompress.io import Feeds, is_archive, release
from ocompress.ir import Model
from ocompress.pipeline import Instrument, Pass, PassRecord
from ocompress.runtime import Level, Session
from ocompress.validation import Check, ValidationResult

LARGE = 1 << 30
"""Bytes of weights above which no session is made that is not asked for."""
_THRIFTY = {"session.disable_prepacking": "1"}
"""With it, ONNX Runtime maps external weights and makes no copy of them."""


def judge_large(
    original: Model, written: Model, staged: Path, domains: Collection[str] = ()
) -> ValidationResult:
    """Check the structure, and that ONNX Runtime loads the file.

    Args:
        original: What came in.
        written: What came out.
        staged: The file it is in.
        domains: Operator domains that the passes declare.
    """
    found = validation.validate(original, written, levels=(), domains=domains)
    message = ""
    try:
        Session(written if is_archive(staged) else staged, level=Level.BASIC, config=_THRIFTY)
    except RuntimeFailureError as error:
        message = str(error)
    said = message or "ONNX Runtime loads the model"
    loads = Check(f"runs[{Level.BASIC}]", not message, message=said)
    return replace(found, structure=(*found.structure, loads))


def count_and_let_go(model: Model, feeds: Feeds | None) -> Cost:
    """Count what a model holds, then give back the memory its mapped weights took.

    Args:
        model: The model.
        feeds: What it is run on; their shapes stand in for those the model leaves free. None for
            models that are too large to be run in passing.
    """
    shapes = {name: array.shape for name, array in feeds.items()} if feeds is not None else None
    cost = count(model, shapes, run=feeds is not None)
    let_go(model)
    return cost


def let_go(model: Model) -> None:
    """Give back the memory that mapped weights take; they are read again when needed."""
    for array in model.weights():
        release(array)


class Release(Instrument):
    """Lets go of mapped weights between passes, so that large models take less memory."""

    def __init__(self, original: Model) -> None:
        """Let go of what this model holds."""
        self._original = original

    def after_pass(self, item: Pass, model: Model, record: PassRecord) -> None:
        """Let go."""
        let_go(self._original)
