"""What ONNX Runtime's messages say: which node failed, why, and whose fault that may be."""

from __future__ import annotations

import re
from dataclasses import dataclass

_LONGEST = 400
"""Characters of a message that are shown; some list every type there is."""

_NODE = re.compile(r"while running (\S+) node\. Name:'(.*?)' Status Message: (.*)", re.DOTALL)
_ASSERTION = re.compile(r"^/\S+:\d+ .*? was false\. ", re.DOTALL)
_ADVICE = (
    "this is a fault of its optimizer and not of the inputs; run the model at that level, try "
    "another version of ONNX Runtime, or write the nodes that it fuses in another way"
)


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a model did not load or run.

    Attributes:
        where: `in node 'name' (Operator)`, empty where no node is named.
        why: The message, without error codes and places in the runtime's source.
        refused: Whether arguments were refused rather than something broke.
    """

    where: str
    why: str
    refused: bool

    @staticmethod
    def of(error: Exception) -> Failure:
        """Read what the runtime raised."""
        text = str(error)
        refused = "INVALID_ARGUMENT" in text or text.startswith("Required inputs")
        found = _NODE.search(text)
        if found is None:
            return Failure("", _clean(text), refused)
        op_type, name, said = found.groups()
        why = _short(" ".join(_ASSERTION.sub("", said).split()))
        return Failure(f"in node {name!r} ({op_type})", why, refused)

    @property
    def is_of_inputs(self) -> bool:
        """Whether the inputs were refused before any node ran."""
        return self.refused and not self.where

    @property
    def lacks_kernel(self) -> bool:
        """Whether the runtime knows an operator, but not for the type that it is given."""
        return self.why.startswith("Could not find an implementation")

    def unloadable(self, version: str, level: str = "", advice: str = "") -> str:
        """Say that a model cannot be loaded.

        Args:
            version: Of the runtime.
            level: The level of optimization at which it cannot, if it can be unoptimized.
            advice: What to do, if that is known.
        """
        what = f"ONNX Runtime {version} cannot load the model"
        if level:
            at = f"{what} at optimization level {level}: {self.why}"
            return f"{at}; at level disabled it can: {_ADVICE}"
        return f"{what}: {self.why}{'; ' if advice else ''}{advice}"

    def broken(self, version: str, level: str = "") -> str:
        """Say that a run failed; at the level named, if it does not unoptimized."""
        what = f"ONNX Runtime {version} failed {self.where or 'while running the model'}"
        if level:
            return (
                f"{what} at optimization level {level}: {self.why}; at level disabled the model "
                f"runs on the same inputs: {_ADVICE}"
            )
        return f"{what}: {self.why}"

    def misfit(self) -> str:
        """Say that the inputs, or what a node is given of them, were refused."""
        if self.where:
            return f"the model does not run on these inputs, it fails {self.where}: {self.why}"
        return f"the data do not match the model's inputs: {self.why}"


def _clean(text: str) -> str:
    """Return the first line without an error-code prefix."""
    lines = text.strip().splitlines()
    line = lines[0] if lines else ""
    parts = line.split(" : ")
    line = parts[-1] if line.startswith("[ONNXRuntimeError]") and len(parts) > 1 else line
    return _short(line)


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
