"""One layer at a time: what the outputs of a model lose when only that layer is quantized."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ocompress.analysis.output_errors import OutputErrors, output_parts
from ocompress.analysis.output_parts import Part
from ocompress.diagnostics import Finding
from ocompress.errors import RuntimeFailureError
from ocompress.io.dataset import Dataset, Feeds
from ocompress.ir import Model
from ocompress.runtime import Level, Session

SAMPLES = 32
"""Samples that tell layers apart well enough; one run per layer has its price."""
_PARTED_BY = 16
"""Feeds that outputs are parted by."""
_MOST_KEPT = 256 << 20
"""Bytes of outputs of the original that are kept; beyond, it runs again beside each variant."""

Edit = Callable[[Model], bool]
"""Changes a clone of the model; False if it cannot."""


@dataclass(frozen=True, slots=True)
class Sensitivity(Finding):
    """What one change does to the outputs of the model.

    Attributes:
        node: The node that was changed.
        sqnr_db: Signal over noise power of the output (or part of one that is in a unit of its
            own) that suffers most, decibels.
        kl: Mean divergence KL(original || changed) of the softmax over the classes, nats, summed
            over outputs; None where no output looks like scores of classes.
        cost: What outputs lose in all, in the currency of the Fisher information: twice the
            divergence of scores of classes, of others the power of the error over their own.
    """

    node: str
    sqnr_db: float
    kl: float | None
    cost: float = 0.0


def sensitivity(
    model: Model,
    variants: Mapping[str, Edit],
    data: Dataset,
    progress: Callable[[int, int], None] = lambda _, __: None,
    *,
    samples: int = SAMPLES,
) -> dict[str, Sensitivity]:
    """Measure variants of a model against it, one after the other.

    The runtime does not fuse quantized operators here, so the result is that of the grids and
    not of one machine's kernels.

    Args:
        model: The original; not changed.
        variants: What to change, by the name of the node concerned.
        data: Feeds; the first `samples` are used.
        progress: Called with the number of variants done and their total.
        samples: Samples at most.

    Returns:
        A finding for every variant that could be made and run, in the order of `variants`.

    Raises:
        DataError: If the feeds do not fit.
        RuntimeFailureError: If the original cannot be run.
    """
    few = data.take(samples)
    original = _Original(model, few)
    found = {}
    for done, (name, edit) in enumerate(variants.items(), 1):
        clone = model.clone()
        if edit(clone):
            clone.sort()
            with contextlib.suppress(RuntimeFailureError):  # a type that this runtime lacks
                found[name] = _measure(name, clone, original)
        progress(done, len(variants))
    return found


class _Original:
    """The outputs of the original, kept or made again, and their parts."""

    def __init__(self, model: Model, data: Dataset) -> None:
        self._data = data
        self._session: Session | None = Session(model, threads=0, level=Level.DISABLED)
        self._kept: list[dict[str, np.ndarray]] = []
        self.parts: Mapping[str, Sequence[Part]] = {}
        size = 0
        for feeds in data:
            self._kept.append(self._session.run(feeds))
            size += sum(a.nbytes for a in self._kept[-1].values() if isinstance(a, np.ndarray))
            if size > _MOST_KEPT:
                break
        if self._kept:
            self.parts = output_parts(model, _joined(self._kept[:_PARTED_BY]))
        if size > _MOST_KEPT:
            self._kept = []
        else:
            self._session = None

    def __iter__(self) -> Iterator[tuple[Feeds, dict[str, np.ndarray]]]:
        if self._session is None:
            yield from zip(self._data, self._kept, strict=True)
            return
        for feeds in self._data:
            yield feeds, self._session.run(feeds)


def _measure(name: str, variant: Model, original: _Original) -> Sensitivity:
    session = Session(variant, threads=0, level=Level.DISABLED)
    errors = OutputErrors(original.parts)
    for feeds, wanted in original:
        errors.update(wanted, session.run(feeds))
    found = errors.result()
    return Sensitivity(name, found.sqnr_db, found.kl, found.cost)


def _joined(runs: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Return the outputs of several feeds behind each other, of the first where that is not so."""
    first = runs[0]
    found = dict(first)
    for name, array in first.items():
        others = [run[name] for run in runs if name in run]
        same = all(isinstance(a, np.ndarray) and a.shape[1:] == array.shape[1:] for a in others)
        if same and array.ndim:
            found[name] = np.concatenate(others)
    return found
