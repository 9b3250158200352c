"""Every architecture at hand loses channels and stays valid: slow."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from ocompress import load
from ocompress.analysis import AnalysisManager
from ocompress.diagnostics import Diagnostics
from ocompress.ir import Model, from_proto
from ocompress.pipeline import Context, find
from ocompress.runtime import Session
from passes.pruning.prune_channels import PruneChannels
from tests.build import InMemory, feeds
from tests.contract.harness import TARGET, check

LIGHT = Path(onnx.__file__).parent / "backend/test/data/light"
ROOT = Path(__file__).parents[2] / "models"
MODELS = [*sorted(LIGHT.glob("light_*.onnx")), *sorted(ROOT.glob("*.onnx"))]
REAL = sorted((ROOT / "real").glob("*.onnx"))
FEW = ("light_squeezenet", "light_shufflenet", "resnet8", "mobilenet")


def with_weights(path: Path) -> Model:
    """Load a net; weights that nodes would fill with one number become random constants."""
    proto = onnx.load(str(path))
    given = {t.name: numpy_helper.to_array(t) for t in proto.graph.initializer}
    rng = np.random.default_rng(0)
    nodes = []
    for node in proto.graph.node:
        if node.op_type != "ConstantOfShape" or node.input[0] not in given:
            nodes.append(node)
            continue
        shape = given[node.input[0]].tolist()
        array = rng.standard_normal(shape) / max(1, np.prod(shape[1:])) ** 0.5
        if len(shape) < 2:  # scales and variances, too
            array = np.abs(array) + 0.5
        proto.graph.initializer.append(numpy_helper.from_array(array.astype("f"), node.output[0]))
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)
    names = {t.name for t in proto.graph.initializer}
    inputs = [i for i in proto.graph.input if i.name not in names]
    del proto.graph.input[:]
    proto.graph.input.extend(inputs)
    return from_proto(proto)


def cut(model: Model, item: PruneChannels, *, data: bool) -> Context:
    manager = AnalysisManager(InMemory([feeds(model, s) for s in range(3)]) if data else None)
    ctx = Context(target=TARGET, analyses=manager, diagnostics=Diagnostics())
    ctx.run_one(find("canonicalize")(), model)
    before = model.weight_bytes
    outcome = ctx.run_one(item, model)
    check(model)
    assert outcome, ctx.diagnostics.declined()
    assert model.weight_bytes < before
    groups = [r for r in outcome.details["groups"] if r["kept"] < r["channels"]]
    assert groups
    results = Session(model).run(feeds(model, 9))
    assert all(np.isfinite(a).all() for a in results.values())
    return ctx


@pytest.mark.slow
@pytest.mark.parametrize("path", MODELS, ids=lambda p: p.stem)
def test_thirty_percent_of_the_channels_go(path: Path) -> None:
    model = with_weights(path)
    ctx = cut(model, PruneChannels(ratio=0.3, scope="layer"), data=False)
    for remark in ctx.diagnostics.remarks:
        assert remark.node or remark.code != "not-followed"
    for node in model.graph.nodes:
        weight = node.input(1)
        if node.is_op("Conv") and weight is not None and weight.constant is not None:
            groups = int(node.attr("group", 1))
            assert weight.constant.shape[0] % groups == 0


@pytest.mark.slow
@pytest.mark.parametrize("path", [p for p in MODELS if p.stem in FEW], ids=lambda p: p.stem)
def test_thirty_percent_go_by_what_data_say(path: Path) -> None:
    cut(with_weights(path), PruneChannels(ratio=0.3, scope="layer"), data=True)


@pytest.mark.slow
@pytest.mark.parametrize("path", REAL, ids=lambda p: p.stem)
def test_real_nets_lose_channels(path: Path) -> None:
    cut(load(path), PruneChannels(ratio=0.3, scope="layer"), data=False)
