"""The meter of a metric, and meters that are used again."""

from __future__ import annotations

from ocompress.errors import DataError
from ocompress.io.dataset import Dataset
from ocompress.ir import Model
from ocompress.validation.drops import Meter
from ocompress.validation.loss_meter import LossMeter
from ocompress.validation.metric import Metric
from ocompress.validation.naming import wanted_by
from ocompress.validation.score_meter import ScoreMeter
from ocompress.validation.scores import Accuracy, class_ids


def make_meter(
    reference: Model,
    data: Dataset,
    metric: str | Metric,
    *,
    fitted: Dataset | None = None,
    alike: bool = True,
    threads: int = 1,
) -> Meter:
    """Make the meter of a metric; `auto` takes accuracy where every sample has a label.

    Asked for by name, accuracy is that of the samples that have one.

    Args:
        reference: The original; it runs once.
        data: What is judged on.
        metric: What `--metric` may say (`ocompress.validation.naming`), or the user's own.
        fitted: Samples that candidates were fitted to, as far as they are looked at, too.
        alike: Whether these were drawn with `data`.
        threads: Threads within an operator; 0 takes all cores.

    Raises:
        OptionError: If there is no metric of that name.
        DataError: If the data do not fit the reference, or the metric its outputs.
        RuntimeFailureError: If the reference cannot be loaded or run.
    """
    if isinstance(metric, Metric):
        return ScoreMeter(reference, data, metric, threads)
    wanted = wanted_by(metric)
    if wanted is None:
        return ScoreMeter(reference, data, "accuracy", threads, fitted)
    if metric == "auto" and _has_all_labels(data):
        try:
            return ScoreMeter(reference, data, "accuracy", threads, fitted)
        except DataError:
            pass  # labels of something else, nobody asked for them
    return LossMeter(reference, data, wanted, threads, fitted, alike=alike)


class LastMeter:
    """Makes meters, and gives the last one to who asks for the same: the original ran for it."""

    def __init__(self) -> None:
        """Begin with none."""
        self._asked: tuple[object, ...] = ()
        self._last: Meter | None = None

    def of(
        self,
        reference: Model,
        data: Dataset,
        metric: str | Metric,
        *,
        fitted: Dataset | None = None,
        alike: bool = True,
        threads: int = 1,
    ) -> Meter:
        """Return a meter, see `make_meter`."""
        asked = reference, data, fitted, metric, alike, threads
        same = len(self._asked) == len(asked) and all(
            a is b or (isinstance(a, str | int) and a == b)
            for a, b in zip(asked, self._asked, strict=True)
        )
        if not same or self._last is None:
            self._last = None  # what is not asked for any more is let go first
            self._last = make_meter(
                reference, data, metric, fitted=fitted, alike=alike, threads=threads
            )
            self._asked = asked
        return self._last


def _has_all_labels(data: Dataset) -> bool:
    labels = class_ids(data)
    if labels is None or len(labels) != data.samples:
        return False
    return not Accuracy(labels).unlabelled
