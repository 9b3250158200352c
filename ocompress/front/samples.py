"""The samples of one optimization: some to fit to, others to judge on."""

from __future__ import annotations

from dataclasses import dataclass, field

from ocompress.front.request import Request
from ocompress.io import Dataset, as_dataset, hold_out, synthetic_data
from ocompress.io.dataset import notes_of
from ocompress.io.kept import kept
from ocompress.ir import Model
from ocompress.wording import counted


@dataclass(frozen=True)
class Samples:
    """What passes see and what judges see.

    Attributes:
        fit: What passes see, None without data.
        judged_on: What results are judged on; no pass has seen it unless `remarks` say so.
        announcements: What to say before work starts, one sentence each.
        remarks: What a reader of the result must know, one sentence each.
        alike: Whether both parts were drawn from the same data.
    """

    fit: Dataset | None
    judged_on: Dataset | None
    announcements: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    alike: bool = False

    @property
    def beside(self) -> Dataset | None:
        """Samples drawn with those that are judged on, which passes saw; None without any."""
        return self.fit if self.alike else None


def open_samples(request: Request, original: Model, *, apart: bool) -> Samples:
    """Open the data of a request, and set apart what results are judged on.

    Args:
        request: What was asked.
        original: The model, whose inputs they must fit.
        apart: Whether anything is fitted; else all samples serve for both.

    Raises:
        DataError: If the data do not fit.
    """
    if request.data is None:
        if not request.synthetic:
            return Samples(None, None)
        made = synthetic_data(original, request.synthetic, seed=request.seed)
        loud = "calibrated on RANDOM NUMBERS: the figures say nothing about real inputs"
        data, remarks = made, [loud]
    else:
        data, remarks = _open(request, original)
    if request.eval_data is not None:
        judged = kept(as_dataset(request.eval_data, original, preprocess=request.preprocess))
        said = f"judged on {counted(judged.samples, 'sample')} of {judged.source}"
        return Samples(data, judged, [said], remarks)
    if not apart:
        return Samples(data, data, [], remarks)
    return _divided(request, data, remarks)


def _open(request: Request, original: Model) -> tuple[Dataset, list[str]]:
    assert request.data is not None
    data = as_dataset(
        request.data,
        original,
        labels=request.labels,
        samples=request.samples,
        preprocess=request.preprocess,
    )
    request.budget.check_data(data)
    return kept(data), notes_of(data)


def _divided(request: Request, data: Dataset, remarks: list[str]) -> Samples:
    asked, seed = request.held_out, request.seed
    parts = (
        hold_out(data, seed=seed)
        if asked is None
        else hold_out(data, share=asked, most=None, seed=seed)
    )
    if not parts.is_apart:
        flattering = (
            f"judged on the {counted(data.samples, 'sample')} that passes were fitted to, which "
            "flatters the result; give separate ones with --eval-data"
        )
        return Samples(data, data, [], [*remarks, flattering])
    said = (
        f"{data.samples} samples: {parts.fit.samples} to fit to, {parts.held_out.samples} held "
        "out to judge on"
    )
    return Samples(parts.fit, parts.held_out, [said], remarks, alike=True)
