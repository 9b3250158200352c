"""What stands beside a plan in reports: its result, other models, what each pass saves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ocompress import profiling
from ocompress.auto import Chain, Laboratory, OutOfTimeError, PlanPeer, PlanTrial, excess
from ocompress.errors import OcompressError
from ocompress.front.bench import Bench
from ocompress.front.files import ModelLike, as_model, file_bytes
from ocompress.front.plans import peer_name
from ocompress.ir import Model
from ocompress.ir.serialized_size import serialized_bytes
from ocompress.pipeline.guard import Verdict
from ocompress.report import Optimization
from ocompress.validation import AccuracyGuard

_SECONDS = 0.6
"""Time for each of two models that are timed."""


def peers(bench: Bench, guard: AccuracyGuard, others: Sequence[ModelLike]) -> Iterator[PlanPeer]:
    """Measure models as trials are measured.

    Args:
        bench: The original, and one call that is timed.
        guard: Judges what models lost.
        others: The models.

    Raises:
        ModelError: If one is no model.
    """
    for other in others:
        model, path = as_model(other)
        size = serialized_bytes(model) if path is None else file_bytes(path)
        verdict = guard.judge(model, bench.original)
        drop = verdict.figures.get("drop")
        yield PlanPeer(
            name=peer_name(other),
            size=size,
            drop=drop,
            latency=None if drop is None else _latency(bench, model),
            held=verdict.held,
            why="" if verdict.held else verdict.message,
        )


def _latency(bench: Bench, model: Model) -> float | None:
    """Return a model's time over the original's; None where it is not timed here."""
    if bench.timed is None:
        return None
    threads, call = bench.request.threads, bench.call
    try:
        found = profiling.profile(
            model,
            against=bench.original,
            data=call,
            threads=threads,
            seconds=_SECONDS,
            memory=False,
        )
    except OcompressError:  # it ran for the guard, with another feed
        return None
    return None if found.ratio is None else found.ratio.value


def steps(laboratory: Laboratory, chosen: PlanTrial) -> tuple[PlanTrial, ...]:
    """Return trials of a chain's first passes, up to the whole of it.

    Where time is over, those that were not measured are left out.
    """
    found: list[PlanTrial] = []
    for count in range(len(chosen.chain.steps)):
        chain = Chain(chosen.chain.steps[:count])
        try:
            found.extend(laboratory.evaluate([chain]))
        except OutOfTimeError:
            continue
    return (*(t for t in found if t.size), chosen)


def measured(done: Optimization) -> dict[str, float | None]:
    """Return what a result turned out to be, under the names that trials have."""
    lost = _lost(done)
    ratio = done.profile.ratio if done.profile is not None else None
    return {
        "drop": None if lost is None else lost.figures["drop"],
        "latency_ratio": None if ratio is None else ratio.value,
        "bytes": done.bytes[1],
        "archive_bytes": None if done.coded is None else done.coded.archive,
    }


def _lost(done: Optimization) -> Verdict | None:
    """Return what a result lost, None if that was not measured."""
    verdicts = _verdicts(done)
    return verdicts[-1] if verdicts else None


def _verdicts(done: Optimization) -> list[Verdict]:
    return [v for r in done.pipeline.records for v in r.verdicts if "drop" in v.figures]


def exceeding(done: Optimization) -> float:
    """Return what a pipeline lost over what is allowed, as `excess`; 0 if that was not measured.

    Of one that did not hold it is what the pass lost that was refused, though later ones ran
    without it.
    """
    verdicts = _verdicts(done)
    refused = [v for v in verdicts if not v.held]
    return max((excess(v.figures) for v in refused or verdicts[-1:]), default=0.0)
