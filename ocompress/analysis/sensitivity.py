"""One layer at a time: what the outputs of a model lose when only that layer is quantized."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ocompress.analysis.detour import Detours
from ocompress.analysis.output_errors import OutputErrors, output_parts
from ocompress.analysis.output_parts import OutputPart
from ocompress.analysis.staged import MOST_NODES, Staged
from ocompress.analysis.store import MeasurementStore
from ocompress.diagnostics import Finding
from ocompress.errors import DataError, RuntimeFailureError
from ocompress.io.dataset import Dataset, Feeds
from ocompress.ir import Model, fingerprint
from ocompress.ir.joined import joined

SAMPLES = 32
"""Samples that tell layers apart well enough; one run per layer has its price."""
_PARTED_BY = 16
"""Feeds that outputs are parted by."""
_MOST_KEPT = 256 << 20
"""Bytes of outputs of the original that are kept; beyond, it runs again beside each variant."""

_TOGETHER = 16
"""Variants that are measured as one model; they share what comes before their changes."""
_MOST_LOADED, _MOST_NODES, _MOST_SPREAD = 2e9, 1e5, 5e4
"""Bytes of weights and nodes that are loaded for all variants, about; nodes where variants change
single layers, so that those between them can be told from their neighbours."""
_WHOLE, _STAGES = 1000, 16
"""Nodes up to which variants are loaded as a whole; a larger model is divided into so many stages
that variants share where nothing was changed."""
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
            divergence of scores of classes, of others the power of the error over the variance.
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
    store: MeasurementStore | None = None,
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
        store: Keeps what the original makes of these data, for the next time.

    Returns:
        A finding for every variant that could be made and run, in the order of `variants`.

    Raises:
        DataError: If the feeds do not fit.
        RuntimeFailureError: If the original cannot be run.
    """
    original = _original(model, data.take(samples), store)
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


def _original(model: Model, data: Dataset, store: MeasurementStore | None) -> _Original:
    """Run a model, divided if it is large and can be."""
    nodes = len(model.graph.nodes)
    if nodes > _WHOLE:
        with contextlib.suppress(RuntimeFailureError):  # what cannot be passed between sessions
            return _Original(model, data, -(-nodes // _STAGES))
    known = None if store is None else _Known(store, model, data)
    return _Original(model, data, known=known)


class _Known:
    """Outputs of a whole model in a store, if all of them are tensors of numbers."""

    def __init__(self, store: MeasurementStore, model: Model, data: Dataset) -> None:
        self._store, self._whose = store, fingerprint(model)
        self._what = ("outputs", data.samples, len(data))
        self._names = [v.name for v in model.graph.outputs]

    def get(self) -> list[Feeds] | None:
        """Return the outputs feed by feed; None if they are not known."""
        arrays = self._store.get(self._whose, self._what)
        if arrays is None:
            return None
        each = len(self._names)
        runs = (arrays[at : at + each] for at in range(0, len(arrays), each))
        return [dict(zip(self._names, run, strict=True)) for run in runs]

    def put(self, runs: Iterable[Feeds]) -> None:
        """Keep the outputs."""
        arrays = [run[name] for run in runs for name in self._names]
        if all(isinstance(a, np.ndarray) and a.dtype.kind in "biuf" for a in arrays):
            self._store.put(self._whose, self._what, tuple(arrays))


class _Original:
    """What the original makes of each feed, kept or made again, and the parts of its outputs.

    Attributes:
        parts: Parts of each output.
        detours: Says how variants run in stages of the original; None if it was not divided.
    """

    def __init__(
        self,
        model: Model,
        data: Dataset,
        most: int | None = None,
        *,
        known: _Known | None = None,
    ) -> None:
        self._data = data
        self._session: Staged | None = None
        self.detours: Detours | None = None
        self._kept: list[list[Feeds]] = []
        self.parts: Mapping[str, Sequence[OutputPart]] = {}
        size = self._largest = 0
        found = None if known is None else known.get()
        if found is None:
            session = self._session = _session(model, most)
            self.detours = Detours(session) if most and session.stages else None
            runs = (self._states(session, feeds) for feeds in data)
        else:
            runs = ([feeds, outputs] for feeds, outputs in zip(data, found, strict=True))
        for states in runs:
            self._kept.append(states)
            size += _bytes_of(self._kept[-1][1:])
            self._largest = max(self._largest, _bytes_of(self._kept[-1][-1:]))
            if size > _MOST_KEPT:
                break
        if self._kept:
            outputs = [states[-1] for states in self._kept[:_PARTED_BY]]
            self.parts = output_parts(model, _joined(outputs))
        if size > _MOST_KEPT and found is None:
            self._kept = []
            return
        self._session = None
        if known is not None and found is None:
            known.put(states[-1] for states in self._kept)

    def together(self, model: Model) -> int:
        """Return how many variants may be measured at once: each holds weights and outputs."""
        each = max(self._largest + model.loaded_bytes, 1)
        nodes = max(len(model.graph.nodes), 1)
        loaded = MOST_NODES // nodes if self.detours is None else _TOGETHER
        return int(min(max(min(_MOST_KEPT // each, loaded), 1), _TOGETHER))

    def __iter__(self) -> Iterator[tuple[Feeds, list[Feeds]]]:
        """Yield each feed with what is held before each stage and, at last, the outputs."""
        if self._session is None:
            yield from zip(self._data, self._kept, strict=True)
            return
        for feeds in self._data:
            yield feeds, self._states(self._session, feeds)

    @staticmethod
    def _states(session: Staged, feeds: Feeds) -> list[Feeds]:
        if not session.stages:
            return [feeds, session.run(feeds)]
        *states, last = session.states(feeds)
        return [*states, {name: last[name] for name in session.wanted}]


def _measure(variants: Mapping[str, Model], original: _Original) -> dict[str, Sensitivity]:
    """Measure variants beside the original or in one session; else one by one."""
    found = _beside(variants, original) if original.detours is not None else {}
    left = {name: model for name, model in variants.items() if name not in found}
    whole = joined(list(left.values())) if len(left) > 1 and original.detours is None else None
    if whole is not None:
        with contextlib.suppress(RuntimeFailureError):
            return _run(whole[0], dict(zip(left, whole[1], strict=True)), original)
    for name, model in left.items():
        outputs = {v.name: v.name for v in model.graph.outputs}
        with contextlib.suppress(RuntimeFailureError):  # a type that this runtime lacks
            found.update(_run(model, {name: outputs}, original))
    return found


def _beside(variants: Mapping[str, Model], original: _Original) -> dict[str, Sensitivity]:
    """Measure the variants that can run in stages of the original where they are like it."""
    assert original.detours is not None
    found = {name: original.detours.of(model) for name, model in variants.items()}
    ways = {name: way for name, way in found.items() if way is not None}
    errors = OutputErrors(original.parts)
    for _, states in original:
        for name, way in list(ways.items()):
            try:
                errors.update(states[-1], way.run(states), name)
            except (DataError, RuntimeFailureError):  # it does not fit the stages after all
                del ways[name]
    return _results(errors, ways)


def _run(
    model: Model, names: Mapping[str, Mapping[str, str]], original: _Original
) -> dict[str, Sensitivity]:
    """Run a model over the data; `names` says which outputs are whose, and are called what."""
    session = _session(model)
    errors = OutputErrors(original.parts)
    for feeds, states in original:
        made = session.run(feeds)
        for variant, outputs in names.items():
            errors.update(states[-1], {name: made[own] for name, own in outputs.items()}, variant)
    return _results(errors, names)


def _results(errors: OutputErrors, names: Iterable[str]) -> dict[str, Sensitivity]:
    results = {variant: errors.result(variant) for variant in names}
    return {name: Sensitivity(name, r.sqnr_db, r.kl, r.cost) for name, r in results.items()}


def _session(model: Model, most: int | None = None) -> Staged:
    return Staged(model, config=_NO_INTEGERS, most=most)


def _bytes_of(states: Iterable[Feeds]) -> int:
    """Return the bytes of all that is held, what is held twice once."""
    held = {id(a): a for state in states for a in state.values() if isinstance(a, np.ndarray)}
    return sum(array.nbytes for array in held.values())


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
