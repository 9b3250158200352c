from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from ocompress.analysis import Analysis, AnalysisManager
from ocompress.errors import DataError, OptionError, PassError, RecipeError, UnknownPassError
from ocompress.ir import Facet, Model, text
from ocompress.pipeline import (
    Dump,
    Instrument,
    Pass,
    PassManager,
    PassRecord,
    Pipeline,
    Status,
    Verdict,
)
from ocompress.targets import Arch, Target
from tests.graphs import ZOO
from tests.pipeline.passes import Broken, Late, Liar, Scale, Stranger

TARGET = Target(name="test", arch=Arch.ANY)


def pipeline(*items: Pass) -> Pipeline:
    return Pipeline(items)  # without canonicalize, so that the models are as the test made them


def first_weight(model: Model) -> float:
    value = next(iter(model.graph.initializers.values()))
    assert value.data is not None
    return float(value.data.flat[0])


@dataclass
class AtMost:
    """Refuses models whose first weight is too large."""

    limit: float
    seen: list[float] = field(default_factory=list)
    kind: str = "at-most"

    def judge(self, candidate: Model, best: Model) -> Verdict:
        self.seen.append(first_weight(best))
        value = abs(first_weight(candidate))
        return Verdict(value <= self.limit, "at-most", f"{value:.3g}", {"value": value})


def test_input_is_never_touched() -> None:
    model = ZOO["mlp"]()
    before = text(model)
    PassManager(target=TARGET).run(pipeline(Scale()), model)
    assert text(model) == before


def test_refused_pass_is_rolled_back_and_the_next_starts_from_the_best() -> None:
    model = ZOO["mlp"]()
    start = abs(first_weight(model))
    guard = AtMost(start * 5)
    manager = PassManager(target=TARGET, guards=[guard])
    result = manager.run(pipeline(Scale(by=2), Scale(by=10), Scale(by=2)), model)
    statuses = [r.status for r in result.records]
    assert statuses == [Status.APPLIED, Status.ROLLED_BACK, Status.APPLIED]
    assert abs(first_weight(result.model)) == pytest.approx(start * 4)
    assert not result.held
    assert [r.code for r in result.diagnostics.of("scale")] == ["rolled-back"]
    assert np.abs(guard.seen) == pytest.approx([start, start * 2, start * 2])


def test_records_tell_the_story() -> None:
    result = PassManager(target=TARGET).run(pipeline(Scale(by=3, loud=True)), ZOO["mlp"]())
    record = result.records[-1]
    assert record.text == "scale{by=3 loud=true}"
    assert record.counts == {"scaled": 6}
    assert record.changed is Facet.WEIGHTS
    assert record.nodes == (5, 5)
    assert record.weight_bytes[0] == record.weight_bytes[1] > 0
    assert result.diagnostics.declined("scale") == {"loud": 1}
    assert result.held


def test_undeclared_change_is_an_error() -> None:
    with pytest.raises(PassError, match=r"'liar' changed .*TOPOLOGY.* undeclared"):
        PassManager(target=TARGET).run(pipeline(Liar()), ZOO["mlp"]())


def test_domains_that_a_pass_does_not_declare_are_an_error() -> None:
    with pytest.raises(PassError, match=r"'stranger' brought in operators of com\.microsoft"):
        PassManager(target=TARGET).run(pipeline(Stranger()), ZOO["mlp"]())
    passes = pipeline(Stranger(declared=True))
    assert passes.domains() == {"com.microsoft"}
    result = PassManager(target=TARGET).run(passes, ZOO["mlp"]())
    assert result.model.domains() == {"ai.onnx", "com.microsoft"}


def test_broken_pass_is_named_with_those_before_it() -> None:
    with pytest.raises(PassError, match=r"'broken' failed .ZeroDivisionError: oh.; .* scale$"):
        PassManager(target=TARGET).run(pipeline(Scale(), Broken()), ZOO["mlp"]())


def test_instruments_see_every_step(tmp_path: Path) -> None:
    class Log(Instrument):
        def __init__(self) -> None:
            self.lines: list[str] = []

        def before_pass(self, item: Pass, model: Model) -> None:
            self.lines.append(f"before {item.name}")

        def after_pass(self, item: Pass, model: Model, record: PassRecord) -> None:
            self.lines.append(f"after {item.name} {record.status}")

        def on_failure(self, item: Pass, before: Model, error: Exception) -> None:
            self.lines.append(f"failed {item.name} {type(error).__name__}")

    log = Log()
    manager = PassManager(target=TARGET, instruments=[log, Dump(tmp_path / "dumps")])
    with pytest.raises(PassError):
        manager.run(pipeline(Scale(), Broken()), ZOO["mlp"]())
    assert log.lines == [
        "before scale",
        "after scale applied",
        "before broken",
        "failed broken ZeroDivisionError",
    ]
    assert [p.name for p in (tmp_path / "dumps").iterdir()] == ["01-scale.txt"]


def test_data_are_asked_for_by_name() -> None:
    class Hungry(Pass):
        """Want data."""

        name = "hungry"

        def run(self, model, ctx):  # type: ignore[no-untyped-def]
            return len(ctx.data)

    with pytest.raises(DataError, match="'hungry' needs calibration data; give some with --data"):
        PassManager(target=TARGET).run(pipeline(Hungry()), ZOO["mlp"]())


def test_order_constraints_are_checked() -> None:
    assert str(Pipeline.of([Scale(), Late()])) == "canonicalize,scale,late"
    with pytest.raises(OptionError, match="'scale' must come before 'late'"):
        Pipeline.of([Late(), Scale()])


def test_unknown_pass_is_named_with_the_nearest() -> None:
    with pytest.raises(UnknownPassError, match="'canonicalise'; did you mean 'canonicalize'"):
        Pipeline.parse("canonicalise")


def test_recipes_are_read(tmp_path: Path) -> None:
    path = tmp_path / "r.toml"
    path.write_text('description = "x"\n[[pass]]\nname = "canonicalize"\n')
    assert str(Pipeline.from_recipe(path)) == "canonicalize"


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        ("", "must hold one or more"),
        ("[[pass]]\n", "has no 'name'"),
        ("x = 1\n[[pass]]\nname='canonicalize'", "unknown entry 'x'"),
        ("[[pass", "cannot be read"),
    ],
)
def test_bad_recipes_are_one_sentence(tmp_path: Path, content: str, wanted: str) -> None:
    path = tmp_path / "r.toml"
    path.write_text(content)
    with pytest.raises(RecipeError, match=wanted):
        Pipeline.from_recipe(path)


@dataclass(frozen=True)
class Count(Analysis[int]):
    """Counts how often it was computed."""

    calls: list[int] = field(compare=False, default_factory=list)
    reads = Facet.WEIGHTS

    def compute(self, model: Model, analyses: AnalysisManager) -> int:
        self.calls.append(1)
        return len(self.calls)


@dataclass(frozen=True)
class OnTop(Analysis[int]):
    """Depends on weights only through another analysis."""

    below: Count
    reads = Facet.TOPOLOGY

    def compute(self, model: Model, analyses: AnalysisManager) -> int:
        return analyses.get(self.below, model) * 10


def test_answers_are_kept_until_what_they_read_changes() -> None:
    manager, model, question = AnalysisManager(), ZOO["mlp"](), Count()
    top = OnTop(question)
    assert [manager.get(top, model), manager.get(question, model)] == [10, 1]
    manager.invalidate(Facet.NAMES)
    assert manager.get(top, model) == 10
    manager.invalidate(Facet.WEIGHTS)
    assert [manager.get(top, model), manager.get(question, model)] == [20, 2]


class OfNodes(Count):
    """Its answer would hold nodes."""

    of_nodes = True


def test_answers_that_hold_nodes_are_for_one_model_only() -> None:
    manager, model, question, other = AnalysisManager(), ZOO["mlp"](), OfNodes(), Count()
    assert [manager.get(question, model), manager.get(question, model)] == [1, 1]
    clone = model.clone()
    assert [manager.get(question, clone), manager.get(question, clone)] == [2, 2]
    assert [manager.get(other, model), manager.get(other, clone)] == [1, 1]
