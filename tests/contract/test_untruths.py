"""The contract notices passes that lie about what they changed, and nothing else."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from ocompress.ir import Facet, Model, edit
from ocompress.pipeline import Context, Outcome, Pass, find
from tests.contract.enrolled import GRAPHS
from tests.contract.facets import changed, untruths
from tests.contract.harness import context, run_pass
from tests.graphs import ZOO


@pytest.mark.parametrize("said", [Facet.NONE, *Facet, Facet.TYPES | Facet.NAMES | Facet.METADATA])
@pytest.mark.parametrize("graph", ["leftovers", "exported", "traced"])
def test_fold_constants_cannot_hide_what_it_folded(graph: str, said: Facet) -> None:
    run = run_pass(find("fold-constants")(), GRAPHS[graph])
    assert not untruths(find("fold-constants"), run.outcome, run.before, run.after)
    assert untruths(find("fold-constants"), Outcome(said), run.before, run.after)


@pytest.mark.parametrize("said", [*Facet, Facet.ALL])
def test_fold_constants_cannot_boast(said: Facet) -> None:
    model = ZOO["mlp"]()
    assert untruths(find("fold-constants"), Outcome(said), model, model.clone())
    assert not untruths(find("fold-constants"), Outcome(), model, model.clone())


def _weight(model: Model) -> None:
    value = next(iter(model.graph.initializers.values()))
    assert value.data is not None
    edit.set_weight(value, value.data * np.float32(1 + 2.0**-23))


def _attribute(model: Model) -> None:
    model.graph.nodes[0].set_attr("alpha", 0.5)


def _edge(model: Model) -> None:
    relu = next(n for n in model.graph.nodes if n.is_op("Relu"))
    relu.set_input(0, model.graph.inputs[0])


def _node_name(model: Model) -> None:
    model.graph.nodes[1].name = "other"


def _type(model: Model) -> None:
    model.graph.nodes[0].output.set_type(model.graph.inputs[0].dtype, ("n", 32))


def _opset(model: Model) -> None:
    model.opsets[""] = 18


def _doc(model: Model) -> None:
    model.graph.nodes[0].doc = "a word"


EDITS: dict[str, tuple[Callable[[Model], None], Facet]] = {
    "weight": (_weight, Facet.WEIGHTS),
    "attribute": (_attribute, Facet.TOPOLOGY),
    "edge": (_edge, Facet.TOPOLOGY),
    "name": (_node_name, Facet.NAMES),
    "type": (_type, Facet.TYPES),
    "opset": (_opset, Facet.OPSET),
    "doc": (_doc, Facet.METADATA),
}


@pytest.mark.parametrize("kind", EDITS)
def test_each_facet_is_seen_alone(kind: str) -> None:
    change, facet = EDITS[kind]
    before = ZOO["mlp"]()
    after = before.clone()
    change(after)
    assert changed(before, after) == facet


@pytest.mark.parametrize("kind", EDITS)
@pytest.mark.parametrize("said", [Facet.NONE, *Facet])
def test_whoever_names_another_facet_is_caught(kind: str, said: Facet) -> None:
    change, facet = EDITS[kind]

    class Editor(Pass):
        """Change one thing and say something."""

        name = "editor"

        def run(self, model: Model, ctx: Context) -> Outcome:
            change(model)
            return Outcome(said)

    before = ZOO["mlp"]()
    after = before.clone()
    outcome = context(after).run_one(Editor(), after)
    assert bool(untruths(Editor, outcome, before, after)) == (said != facet)
