"""The guard against passes that make a model slower."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ocompress.errors import DataError, RuntimeFailureError
from ocompress.io.dataset import Feeds
from ocompress.ir import Model, fingerprint
from ocompress.pipeline.guard import Limit, Verdict
from ocompress.profiling.latency import interleave
from ocompress.profiling.result import Ratio
from ocompress.profiling.statistics import ratio_of_medians
from ocompress.runtime import Session

NOISE = 0.05
"""Part of a latency that is taken for noise. Two loads of one and the same model differ by up to
4 % where a run takes microseconds (memory layout), and the interval says nothing about that."""
_ALIKE = 1.02
"""Ratio of latencies up to which two models are about as fast."""
SECOND_LOOK = 3.0
"""How much longer the second look takes."""


def exceeds(ratio: Ratio, limit: float, noise: float = NOISE) -> bool:
    """Whether latencies are clearly above a limit, by one measure for guards and final results.

    Args:
        ratio: Of the medians, with its 95 % interval.
        limit: What it may be.
        noise: Part of the limit on top of it.
    """
    return ratio.low > limit * (1 + noise)


def seems_slower(ratio: Ratio | None) -> bool:
    """Whether latencies seem to be above the original's, if only by a little.

    Limits allow for what two loads of one model differ by; a plan for the latency need not.

    Args:
        ratio: Of the medians, with its 95 % interval; None if nothing was timed.
    """
    return ratio is not None and ratio.value > _ALIKE and ratio.low > 1.0


class LatencyGuard:
    """Refuses candidates that are clearly slower than the best so far, or than the original.

    Clearly slower is what `exceeds` says. Where the ratio itself lies above the limit at the first
    look, that is judged by a second one: the models are loaded afresh, in another order, and timed
    for three times as long. The original is timed too, so that many small losses cannot add up.
    The last verdict is remembered by what the models compute, for a pass that asks before it ends
    is judged again by the manager.

    A ratio below 1 is a goal of the whole pipeline: a pass that comes nearer is not refused for
    what those behind it may still do, and whether the goal is reached is judged at the end.
    """

    kind = Limit.LATENCY

    def __init__(
        self,
        reference: Model,
        feeds: Feeds,
        max_ratio: float = 1.0,
        *,
        margin: float = NOISE,
        threads: int = 1,
        seconds: float = 0.5,
        seed: int = 0,
    ) -> None:
        """Remember the reference and one feed to run.

        Args:
            reference: The original.
            feeds: One call of the model.
            max_ratio: Largest ratio of median latencies allowed.
            margin: Part of `max_ratio` on top of it that is taken for noise.
            threads: Threads within an operator; 0 takes all cores.
            seconds: Time for each model in the first look.
            seed: Seeds the order of runs and the interval.
        """
        self.limit = max_ratio
        self.margin = margin
        self._reference = reference
        self._feeds = feeds
        self._threads = threads
        self._seconds = seconds
        self._seed = seed
        self._last: tuple[tuple[str, str], Verdict] | None = None

    @property
    def _allowed(self) -> float:
        return max(self.limit, 1.0)

    def judge(self, candidate: Model, best: Model) -> Verdict:
        """Time `candidate` interleaved with `best` and the reference."""
        key = fingerprint(candidate), fingerprint(best)
        if self._last is None or self._last[0] != key:
            self._last = key, self._judge(candidate, best)
        return self._last[1]

    def _judge(self, candidate: Model, best: Model) -> Verdict:
        limit = self._allowed * (1 + self.margin)
        try:
            models = candidate, best, self._reference
            ratios = self._look(models, range(3), self._seconds)
            if any(ratio.value > limit for ratio in ratios):
                ratios = self._look(models, range(2, -1, -1), self._seconds * SECOND_LOOK)
        except (RuntimeFailureError, DataError) as error:
            return Verdict(False, self.kind, f"the model cannot be timed: {error}")
        return self._verdict(*ratios)

    def _look(
        self, models: Sequence[Model], order: Sequence[int], seconds: float
    ) -> tuple[Ratio, Ratio]:
        """Load the models in some order, time them, and compare the first with the others."""
        own = {id(models[index]): index for index in order}  # what stands twice is timed once
        places = {index: own[id(models[index])] for index in order}
        calls = {place: self._caller(models[place]) for place in places.values()}
        taken = sorted(calls)
        found = interleave([calls[i] for i in taken], seconds=seconds, seed=self._seed + order[0])
        times = dict(zip(taken, found, strict=True))
        new, best, reference = (times[places[i]].turns for i in range(len(models)))
        return (
            ratio_of_medians(new, best, self._seed),
            ratio_of_medians(new, reference, self._seed),
        )

    def _caller(self, model: Model) -> Callable[[], object]:
        wanted = {v.name for v in model.graph.inputs}
        given = {n: a for n, a in self._feeds.items() if n in wanted}
        session = Session(model, threads=self._threads, as_deployed=True)
        return lambda: session.run(given)

    def _verdict(self, best: Ratio, reference: Ratio) -> Verdict:
        over = [exceeds(r, self._allowed, self.margin) for r in (best, reference)]
        held = not any(over)
        shown, whom = (best, "the best so far")
        if over == [False, True]:
            shown, whom = (reference, "the original")
        relation = "not clearly above" if held else "above"
        message = (
            f"the model takes {shown.value:.3f} times as long as {whom} (95 % interval "
            f"{shown.low:.3f} to {shown.high:.3f}), {relation} the {self._allowed:g} allowed"
        )
        figures = {
            "ratio": best.value,
            "low": best.low,
            "high": best.high,
            "ratio_to_original": reference.value,
            "low_to_original": reference.low,
            "high_to_original": reference.high,
            "limit": self.limit,
        }
        return Verdict(held, self.kind, message, figures)
