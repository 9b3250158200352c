"""Passes that change nothing may still decide what others make."""

from __future__ import annotations

import pytest

from ocompress.diagnostics import Diagnostics
from ocompress.front.shorter import without_idle
from ocompress.ir import Facet
from ocompress.pipeline import PassRecord, Pipeline, PipelineResult, Status
from ocompress.pipeline.bearing import bearing
from tests.build import Builder


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("prune-channels{max_time=0.5},quant", (False, True)),
        ("prune-heads{ratio=0.5},merge-layers,quant", (False, True)),
        ("prune-channels{max_time=0.5},quant-weights", (False, False)),
        ("factorize{rank=4},quant", (False, False)),  # goes by what its options say
        ("quant", (False, False)),
        ("prune-channels{max_macs=0.5},tune", (True, False)),
    ],
)
def test_what_passes_do_to_others(text: str, expected: tuple[bool, bool]) -> None:
    assert bearing(Pipeline.parse(text).passes) == expected


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("prune-channels{max_time=0.5},quant", ["prune-channels", "quant"]),
        ("prune-channels{max_time=0.5},quant-weights", ["prune-channels"]),
        ("factorize{rank=4},quant", ["factorize"]),
        ("prune-channels{max_time=0.5},quant,quant-weights", ["prune-channels", "quant"]),
    ],
)
def test_idle_passes_stay_where_others_were_made_as_they_need(text: str, left: list[str]) -> None:
    b = Builder()
    b.output(b.op("Relu", b.input("x", [1])), [1])
    pipeline = Pipeline.parse(text)
    records = tuple(
        PassRecord(name=item.name, text=str(item), status=status, seconds=0.0, changed=Facet.NONE)
        for item, status in zip(
            pipeline.passes,
            [Status.UNCHANGED, Status.APPLIED, *[Status.UNCHANGED] * len(pipeline.passes)],
            strict=False,
        )
    )
    result = PipelineResult(model=b.model(), records=records, diagnostics=Diagnostics())
    shorter, found = without_idle(pipeline, result, {"quant", "quant-weights"})
    assert [r.name for r in found.records][1:] == left == [p.name for p in shorter.passes][1:]
