"""What passes decided about layers, from what they tell."""

from __future__ import annotations

from typing import Any

from ocompress.diagnostics import Diagnostics, Remark, Severity
from ocompress.ir import Facet
from ocompress.pipeline import PassRecord, PipelineResult, Status, Verdict, choices_of
from tests.graphs import ZOO

ROW = {"name": "conv", "chosen": "rank 8", "second": "rank 4", "why": "too much error"}


def result(*records: PassRecord, remarks: tuple[Remark, ...] = ()) -> PipelineResult:
    found = Diagnostics()
    for remark in remarks:
        found.add(remark)
    return PipelineResult(model=ZOO["mlp"](), records=records, diagnostics=found)


def record(name: str, status: Status = Status.APPLIED, **more: Any) -> PassRecord:
    return PassRecord(name=name, text=name, status=status, seconds=0.0, changed=Facet.NONE, **more)


def test_layers_come_with_all_their_decisions() -> None:
    other = {**ROW, "name": "fc"}
    quant = {**ROW, "chosen": "int8", "second": "float"}
    found = choices_of(
        result(
            record("canonicalize", details={"choices": [ROW]}),
            record("factorize", details={"choices": [ROW, other, {"name": "broken"}]}),
            record("quant", details={"choices": [quant]}),
        )
    )
    assert [(c.layer, c.by, c.chosen) for c in found] == [
        ("conv", "factorize", "rank 8"),
        ("conv", "quant", "int8"),
        ("fc", "factorize", "rank 8"),
    ]


def test_remarks_tell_of_layers_that_tables_leave_out() -> None:
    remarks = (
        Remark("factorize", Severity.DECLINED, "too-small", "it has 4 rows", "fc", "Gemm"),
        Remark("factorize", Severity.DECLINED, "too-small", "no", "conv", "Conv"),
        Remark("factorize", Severity.NOTE, "note", "anything", "add", "Add"),
        Remark("merge", Severity.APPLIED, "merged", "two became one", "add", "Add"),
    )
    found = choices_of(
        result(record("merge"), record("factorize", details={"choices": [ROW]}), remarks=remarks)
    )
    told = {c.layer: (c.by, c.chosen, c.second, c.why) for c in found}
    assert told["fc"] == ("factorize", "as it is", "factorize", "it has 4 rows")
    assert told["conv"] == ("factorize", "rank 8", "rank 4", "too much error")
    assert told["add"][:3] == ("merge", "two became one", "as it is")


def test_what_was_rolled_back_came_second() -> None:
    refused = Verdict(False, "max-drop", "accuracy fell by 0.3")
    (found,) = choices_of(
        result(record("quant", Status.ROLLED_BACK, details={"choices": [ROW]}, verdicts=(refused,)))
    )
    assert (found.chosen, found.second) == ("as it is", "rank 8")
    assert found.why == "rolled back with the whole pass: accuracy fell by 0.3"
