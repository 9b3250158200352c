"""Variants of a large model that share its sessions lose what they do as models of their own."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

from ocompress.analysis import sensitivity as module
from ocompress.analysis.sensitivity import sensitivity
from ocompress.analysis.staged import Stage
from ocompress.errors import RuntimeFailureError
from ocompress.ir import Model, edit
from ocompress.runtime import Session
from tests.analysis.test_sensitivity import DATA, scale
from tests.build import Builder


def forked(blocks: int) -> Model:
    """Return `blocks` residual blocks of three nodes, and what the input adds at the end."""
    b = Builder(1)
    x = value = b.input("x", ["n", 4])
    for at in range(blocks):
        inner = b.op("Tanh", b.op("MatMul", value, b.weight(4, 4), to=f"p{at}"), to=f"t{at}")
        value = b.op("Add", value, inner, to=f"s{at}")
    b.op("Add", value, x, to="y")
    b.output("y", ["n", 4])
    return b.model()


def shared(monkeypatch: pytest.MonkeyPatch, stages: int = 4) -> Counter[str]:
    """Divide every model, and count the sessions and the nodes that are loaded."""
    monkeypatch.setattr(module, "_WHOLE", 0)
    monkeypatch.setattr(module, "_STAGES", stages)
    counts: Counter[str] = Counter()
    load = Session.__init__

    def counted(self: Session, model: Model, **kwargs: Any) -> None:
        counts["sessions"] += 1
        counts["nodes"] += len(model.graph.nodes)
        load(self, model, **kwargs)

    monkeypatch.setattr(Session, "__init__", counted)
    return counts


def widen(model: Model) -> bool:
    """Read late what was made early; a node is put in, and one has a new name."""
    graph = model.graph
    late, early = model.labelled("p7"), model.labelled("p1")
    assert late is not None
    assert early is not None
    late.set_input(0, graph.add_op("Add", [late.inputs[0], early.output], name="more").output)
    return True


def cut(model: Model) -> bool:
    """Make two neighbours three elements wide."""
    first, second = model.labelled("p4"), model.labelled("s4")
    assert first is not None
    assert second is not None
    pad = model.graph.constant("pads", np.array([0, 0, 0, 1]))
    weight = edit.own_weight(first, 1)
    edit.set_weight(weight, weight.data[:, :3])  # type: ignore[index]
    inner = second.inputs[1]
    assert inner is not None
    inner.set_type(inner.dtype, None)
    second.set_input(1, model.graph.add_op("Pad", [inner, pad], name="wide").output)
    return True


def renamed(model: Model) -> bool:
    """Give an inner value another name, so that nothing that reads it is as it was."""
    assert scale("p5", 1.2)(model)
    node = model.labelled("t5")
    assert node is not None
    model.graph.rename(node.output, "another")
    return True


VARIANTS = {
    "first": scale("p0", 1.1),
    "last": scale("p9", 1.1),
    "wide": widen,
    "cut": cut,
    "renamed": renamed,
    "both": lambda model: scale("p2", 1.1)(model) and scale("p8", 0.9)(model),
    "none": lambda _: True,
    "ends": lambda model: scale("p9", 1.3)(model) and put_behind(model),
}


def put_behind(model: Model) -> bool:
    """Change what makes the output, which keeps its name."""
    node = model.labelled("y")
    assert node is not None
    negative = model.graph.add_op("Neg", [node.inputs[1]], name="negative").output
    node.set_input(1, negative)
    return True


@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize("stages", [4, 9, 31])
def test_variants_that_share_stages_lose_what_whole_ones_do(
    monkeypatch: pytest.MonkeyPatch, stages: int, kept: bool
) -> None:
    model = forked(10)
    wanted = sensitivity(model, VARIANTS, DATA)
    if not kept:
        monkeypatch.setattr(module, "_MOST_KEPT", 1)
    shared(monkeypatch, stages)
    found = sensitivity(model, VARIANTS, DATA)
    assert list(found) == list(wanted) == list(VARIANTS)
    for name, one in found.items():
        assert one.cost == pytest.approx(wanted[name].cost, rel=1e-3, abs=1e-9), name
    assert found["none"].cost == 0 < found["cut"].cost


def test_a_variant_loads_only_the_stages_that_it_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    model = forked(100)  # 301 nodes
    counts = shared(monkeypatch, 10)
    variants = {f"p{at}": scale(f"p{at}", 1.1) for at in range(0, 100, 5)}
    found = sensitivity(model, variants, DATA)
    assert len(found) == len(variants)
    assert counts["sessions"] == 10 + len(variants)
    assert counts["nodes"] <= 301 + len(variants) * 31


def test_what_does_not_fit_the_stages_is_loaded_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    def flat(model: Model) -> bool:  # later stages were loaded for another rank
        node, axes = model.labelled("s4"), model.graph.constant("axes", np.array([0]))
        assert node is not None
        value = node.output
        raised = model.graph.add_op("Unsqueeze", [value, axes], name="raised")
        for reader, index in [use for use in value.users if use[0] is not raised]:
            reader.set_input(index, raised.output)
        raised.output.name, value.name = value.name, raised.output.name
        return True

    model = forked(10)
    wanted = sensitivity(model, {"flat": flat, "p0": scale("p0", 1.1)}, DATA)
    counts = shared(monkeypatch)
    found = sensitivity(model, {"flat": flat, "p0": scale("p0", 1.1)}, DATA)
    assert found.keys() == wanted.keys()
    assert counts["nodes"] > 2 * 31


def test_a_model_that_cannot_be_divided_runs_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: Any) -> Any:
        raise RuntimeFailureError("no")

    wanted = sensitivity(forked(10), VARIANTS, DATA)
    shared(monkeypatch)
    monkeypatch.setattr(Stage, "run", refused)
    assert sensitivity(forked(10), VARIANTS, DATA) == wanted
