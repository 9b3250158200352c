"""One layer at a time: what the outputs of a model lose when only that layer is quantized."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ocompress.analysis.output_errors import OutputErrors, output_parts
from ocompress.analysis.output_parts import OutputPart
from ocompress.analysis.staged import MOST_NODES, Staged
from ocompress.diagnostics import Finding
from ocompress.errors import RuntimeFailureError
from ocompress.io.dataset import Dataset, Feeds
from ocompress.ir import Model
from ocompress.ir.joined import joined

SAMPLES = 32
"""Samples that tell layers apart well enough; one run per layer has its price."""
_PARTED_BY = 16
"""Feeds that outputs are parted by."""
_MOST_KEPT = 256 << 20
"""Bytes of outputs of the original that are kept; beyond, it runs again beside each variant."""

_TOGETHER = 8
"""Variants that are measured as one model; they share what comes before their changes."""
_MOST_LOADED, _MOST_NODES, _MOST_SPREAD = 2e9, 1e5, 5e4
"""Bytes of weights and nodes that are loaded for all variants, about; nodes where variants change
single layers, so that those between them can be told from their neighbours."""
_NO_INTEGERS = {"session.disable_quant_qdq": "1", "session.intra_op.allow_spinning": "0"}
"""Grids are computed as they stand in the graph; all else may be as fast as the runtime can."""

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
    together = original.together(model)
    found: dict[str, Sensitivity] = {}
    made: dict[str, Model] = {}
    for done, (name, edit) in enumerate(variants.items(), 1):
        clone = model.clone()
        if edit(clone):
            clone.sort()
            made[name] = clone
        if len(made) == together or done == len(variants):
            found.update(_measure(made, original))
            made = {}
            progress(done, len(variants))
    return {name: found[name] for name in variants if name in found}


def affordable(model: Model, *, sharing: bool = False) -> int:
    """Return how many variants of a model may be measured in about linear time, 0 or more.

    Every one has all nodes of the model, so a large one is loaded less often.

    Args:
        model: The model.
        sharing: Whether a variant changes a layer only, so that those of one session share the
            other weights.
    """
    nodes = sum(1 for _ in model.nodes())
    loaded = _MOST_LOADED * (_TOGETHER if sharing else 1)
    most = _MOST_SPREAD if sharing else _MOST_NODES
    return int(min(loaded / max(1, model.weight_bytes), most / max(1, nodes)))


class _Original:
    """The outputs of the original, kept or made again, and their parts."""

    def __init__(self, model: Model, data: Dataset) -> None:
        self._data = data
        self._session: Staged | None = _session(model)
        self._kept: list[dict[str, np.ndarray]] = []
        self.parts: Mapping[str, Sequence[OutputPart]] = {}
        size = self._largest = 0
        for feeds in data:
            self._kept.append(self._session.run(feeds))
            own = sum(a.nbytes for a in self._kept[-1].values() if isinstance(a, np.ndarray))
            size, self._largest = size + own, max(self._largest, own)
            if size > _MOST_KEPT:
                break
        if self._kept:
            self.parts = output_parts(model, _joined(self._kept[:_PARTED_BY]))
        if size > _MOST_KEPT:
            self._kept = []
        else:
            self._session = None

    def together(self, model: Model) -> int:
        """Return how many variants may be measured at once: each holds weights and outputs."""
        each = max(self._largest + model.loaded_bytes, 1)
        nodes = max(len(model.graph.nodes), 1)
        return int(min(max(min(_MOST_KEPT // each, MOST_NODES // nodes), 1), _TOGETHER))

    def __iter__(self) -> Iterator[tuple[Feeds, dict[str, np.ndarray]]]:
        if self._session is None:
            yield from zip(self._data, self._kept, strict=True)
            return
        for feeds in self._data:
            yield feeds, self._session.run(feeds)


def _measure(variants: Mapping[str, Model], original: _Original) -> dict[str, Sensitivity]:
    """Measure variants in one session; those one by one that do not go together."""
    whole = joined(list(variants.values())) if len(variants) > 1 else None
    if whole is not None:
        with contextlib.suppress(RuntimeFailureError):
            return _run(whole[0], dict(zip(variants, whole[1], strict=True)), original)
    found = {}
    for name, model in variants.items():
        outputs = {v.name: v.name for v in model.graph.outputs}
        with contextlib.suppress(RuntimeFailureError):  # a type that this runtime lacks
            found.update(_run(model, {name: outputs}, original))
    return found


def _run(
    model: Model, names: Mapping[str, Mapping[str, str]], original: _Original
) -> dict[str, Sensitivity]:
    """Run a model over the data; `names` says which outputs are whose, and are called what."""
    session = _session(model)
    errors = OutputErrors(original.parts)
    for feeds, wanted in original:
        made = session.run(feeds)
        for variant, outputs in names.items():
            errors.update(wanted, {name: made[own] for name, own in outputs.items()}, variant)
    results = {variant: errors.result(variant) for variant in names}
    return {name: Sensitivity(name, r.sqnr_db, r.kl, r.cost) for name, r in results.items()}


def _session(model: Model) -> Staged:
    return Staged(model, config=_NO_INTEGERS)


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
