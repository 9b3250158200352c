"""Limits on the bytes of a file: goals of passes that round for archives, and what cannot hold."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ocompress.front.files import file_bytes
from ocompress.front.large import LARGE
from ocompress.io.archives import SUFFIX as ARCHIVE_SUFFIX
from ocompress.ir import Facet, Model, to_proto
from ocompress.ir.records import written_bytes
from ocompress.pipeline import Instrument, Numerics, Pass, Pipeline
from ocompress.report.figures import byte_text

if TYPE_CHECKING:
    from ocompress.front.request import Request

_GOAL = "max_size"


def sized(pipeline: Pipeline, most: float | None) -> Pipeline:
    """Return a pipeline whose last pass that can aim at a size aims at a limit in bytes.

    A pass that has a goal of its own keeps it; the limit is checked in any case.

    Args:
        pipeline: The passes.
        most: Bytes that the archive may take; None if there is no such limit.
    """
    able = [at for at, p in enumerate(pipeline.passes) if _GOAL in p.goals and not p.has_goal]
    if most is None or not able:
        return pipeline
    passes = list(pipeline.passes)
    item = passes[able[-1]]
    passes[able[-1]] = type(item)(**item.settings() | {_GOAL: max(int(most), 1)})
    return Pipeline(tuple(passes), pipeline.fixed)


def bytes_of(model: Model, path: Path | None) -> int:
    """Return the bytes of a model's file, or those it would take in one."""
    if path is not None:
        return file_bytes(path)
    return model.weight_bytes if model.weight_bytes > LARGE else to_proto(model).ByteSize()


def warnings(
    request: Request, original: Model, path: Path | None, told: Sequence[Instrument]
) -> list[Instrument]:
    """Return hooks that say at once of an .onnx that no pass can bring it nearer to its limit.

    Args:
        request: What was asked.
        original: What came in.
        path: Its file.
        told: Who is told.
    """
    before = bytes_of(original, path)
    asked = request.limits.most_bytes(before)
    if request.archive or asked is None:
        return []
    most = before * request.limits.size_limit(before)
    return [_OutOfReach(request.pipeline, original, most, told)]


class _OutOfReach(Instrument):
    """Compares the file with its limit once only passes are left that round values."""

    def __init__(
        self, pipeline: Pipeline, original: Model, most: float, told: Sequence[Instrument]
    ) -> None:
        self._passes, self._original = pipeline.passes, original
        self._most, self._told = most, list(told)

    def before_pass(self, item: Pass, model: Model) -> None:
        """Compare, before the first lossy pass."""
        at = next((at for at, own in enumerate(self._passes) if own == item), None)
        if at is None or item.numerics is not Numerics.LOSSY or not self._told:
            return
        told, self._told = self._told, []
        if not all(map(_rounds, self._passes[at:])):
            return
        size = written_bytes(model, self._original)
        if size > self._most:
            names = " and ".join(p.name for p in self._passes[at:])
            sentence = (
                f"WARNING: max size cannot hold: an .onnx of this model takes {byte_text(size)} "
                f"whatever {names} may do, as values are rounded, which only coded files store in "
                f"fewer bytes; name an {ARCHIVE_SUFFIX} file as the output, or set --storage packed"
            )
            for hook in told:
                hook.announce(sentence)


def _rounds(item: Pass) -> bool:
    """Whether a pass leaves types and extents of weights as they are."""
    lossy = item.numerics is Numerics.LOSSY
    keeps_form = Facet.STORAGE not in item.may_change and not item.saves_time
    return lossy and (keeps_form or item.may_change == Facet.WEIGHTS)
