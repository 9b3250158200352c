"""Calls of the program in this process, and what is wrong with how they end."""

from __future__ import annotations

import contextlib
import io
import re
import traceback
import warnings
from dataclasses import dataclass

from ocompress.cli.app import run

_CODES = {0, 1, 2, 3, 4}
_BROKEN_PASS = re.compile(r"pass '[\w-]+' failed \(\w+: ")
_LONGEST = 1000
"""Characters a sentence may have; longer ones are dumps."""


@dataclass(frozen=True)
class Outcome:
    """What became of a case.

    Attributes:
        fault: What is wrong, empty if nothing is.
        served: Whether the program did what it was asked rather than refuse.
    """

    fault: str
    served: bool = False


@dataclass(frozen=True)
class Call:
    """How one call ended.

    Attributes:
        code: Exit code, None if an exception went through.
        sentence: What it complained.
        fault: What is wrong with that, empty if nothing is.
    """

    code: int | None
    sentence: str
    fault: str


def call(*words: str) -> Call:
    """Run the program as a user would and look at how it ends."""
    out, err = io.StringIO(), io.StringIO()
    try:
        with (
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")
            code = run(list(words))
    except BaseException:
        return Call(None, "", f"{words[0]}: {traceback.format_exc()[-900:]}")
    complaints = [line for line in err.getvalue().splitlines() if line.startswith("error: ")]
    sentence = " ".join(complaints)
    return Call(code, sentence, _fault(words, code, complaints))


def _fault(words: tuple[str, ...], code: int, complaints: list[str]) -> str:
    what = f"{' '.join(words)}: exit {code}: {' '.join(complaints)[:500]}"
    if code not in _CODES:
        return f"undocumented exit code: {what}"
    if code != 0 and len(complaints) != 1:
        return f"not one sentence: {what}"
    sentence = " ".join(complaints)
    if "this is a bug" in sentence or _BROKEN_PASS.search(sentence):
        return f"uncaught exception: {what}"
    if "not enough memory" in sentence:
        return f"memory was taken: {what}"
    if len(sentence) > _LONGEST:
        return f"not a sentence: {what}"
    return ""
