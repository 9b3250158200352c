"""The pass `binarize`: weights of signs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto as T

from ocompress.errors import DataError, OptionError
from ocompress.ir import Model, Node
from ocompress.pipeline import Context, Guard, Outcome, Verdict
from passes.pruning.prune import Prune
from passes.sharing.binarize import Binarize
from tests.build import Builder
from tests.passes.pruning.on_data import Fake, error, run, weight_of
from tests.passes.pruning.test_prune_with_data import net


def binarized(
    model: Model, *, data: bool = True, guards: Sequence[Guard] = (), **options: Any
) -> tuple[Model, Outcome, Context]:
    return run(Binarize(smallest=64, **options), model, data=data, guards=guards)


def by_output(node: Node) -> np.ndarray:
    weight = weight_of(node)
    assert weight is not None
    return weight.reshape(len(weight), -1) if node.op_type == "Conv" else weight.T


def most_values(model: Model) -> int:
    layers = [n for n in model.graph.nodes if n.is_op("Conv")]
    return max(len(np.unique(row)) for n in layers for row in by_output(n))


@pytest.mark.parametrize("data", [True, False])
@pytest.mark.parametrize(("options", "values"), [({"planes": 1}, 2), ({"planes": 3}, 8)])
def test_every_output_has_so_many_values(data: bool, options: dict[str, Any], values: int) -> None:
    model, outcome, _ = binarized(net(), data=data, **options)
    assert outcome.counts == {"projections made": 3}
    assert most_values(model) == values


def test_a_ternary_weight_has_a_sign_or_zero_and_zeros_stay() -> None:
    pruned, _, _ = run(Prune(protect_ends=False, smallest=0, sparsity=0.6), net())
    model, _, _ = binarized(pruned, ternary=True)
    for before, after in zip(pruned.graph.nodes, model.graph.nodes, strict=True):
        if before.is_op("Conv"):
            old, new = by_output(before), by_output(after)
            assert not new[old == 0].any()
            assert all(len(np.unique(np.abs(row[row != 0]))) <= 1 for row in new)


def test_planes_lose_less_the_more_there_are_and_data_help() -> None:
    lost = [error(net(), binarized(net(), planes=n)[0]) for n in (1, 2, 3)]
    assert lost[0] > 1.6 * lost[1] > 1.6**2 * lost[2]  # how far fits come differs by processor
    blind = error(net(), binarized(net(), planes=2, data=False)[0])
    assert lost[1] < 0.5 * blind


def test_bits_are_dealt_out_where_they_pay() -> None:
    model, outcome, _ = binarized(net(), bits=2.5)
    rows = {row["name"]: row for row in outcome.details["moves"]}
    assert {row["method"] for row in rows.values() if "method" in row} <= {"planes", "ternary"}
    assert len({row.get("setting") for row in rows.values()}) > 1
    same, _, _ = binarized(net(), planes=2)
    assert error(net(), model) < 1.2 * error(net(), same)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_bits_are_those_of_a_weight_whatever_type_it_has(dtype: Any) -> None:
    b = Builder()
    kind = T.FLOAT16 if dtype is np.float16 else T.FLOAT
    h = b.op("MatMul", b.input("x", ["n", 128], kind), b.weight(128, 160, dtype=dtype))
    b.op("MatMul", b.op("Relu", h), b.weight(160, 128, dtype=dtype), to="y")
    b.output("y", ["n", 128], kind)
    _, outcome, _ = binarized(b.model(), data=False, bits=2.5)
    (goal,) = outcome.details["goals"]
    assert 2.0 < goal["reached"] <= 2.5
    assert {row["setting"] for row in outcome.details["moves"]} == {"2 planes"}


def test_it_goes_as_far_as_the_limit_lets_and_names_what_stays() -> None:
    def guard(limit: float) -> Fake:
        def rule(candidate: Model, _: Model) -> Verdict:
            lost = error(net(), candidate)
            return Verdict(lost <= limit, "max-drop", "", {"drop": lost, "limit": limit})

        return Fake("max-drop", rule)

    found, _, _ = binarized(net(), guards=[guard(0.05)])
    assert 0.001 < error(net(), found) <= 0.05
    _, outcome, ctx = binarized(net(), guards=[guard(1e-9)])
    assert not outcome
    assert ctx.diagnostics.declined("binarize")["too-lossy"] == 3


def test_a_shared_weight_is_projected_once() -> None:
    model, outcome, _ = binarized(net(shared=True), planes=2)
    assert outcome.counts == {"projections made": 3}
    by_label = {n.label: n for n in model.graph.nodes}
    assert by_label["c1"].inputs[1] is by_label["c2"].inputs[1]


def test_all_layers_of_a_shared_weight_that_stays_are_named() -> None:
    def refused(*_: Model) -> Verdict:
        return Verdict(False, "max-drop", "", {"drop": 1.0, "limit": 0.1})

    _, outcome, ctx = binarized(net(shared=True), guards=[Fake("max-drop", refused)])
    assert not outcome
    assert {"c1", "c2"} <= {remark.node for remark in ctx.diagnostics.of("binarize")}


def test_layers_behind_that_keep_their_weights_are_fitted() -> None:
    fitted, _, _ = binarized(net(), planes=1, exclude=("c3", "y"))
    before, after = (
        weight_of(next(n for n in m.graph.nodes if n.label == "c3")) for m in (net(), fitted)
    )
    assert before is not None
    assert after is not None
    assert 0 < np.abs(after - before).max() < np.abs(before).max()


def test_what_excludes_each_other_is_refused() -> None:
    with pytest.raises(OptionError, match="planes and ternary exclude each other"):
        Binarize(planes=2, ternary=True)


def chain(rank: int = 2) -> Model:
    """Layers with a Relu, a pool and a Flatten between them."""
    b = Builder(3)
    x = b.input("x", ["n", 4, 8, 8])
    h = b.op("Relu", b.op("Conv", x, b.weight(16, 4, 3, 3), b.weight(16), to="c0"))
    h = b.op("Flatten", b.op("MaxPool", h, kernel_shape=[2, 2], strides=[2, 2]))
    h = b.op("Relu", b.op("Gemm", h, b.weight(144, 24), b.weight(24), to="g1"))
    if rank == 3:
        h = b.op("Unsqueeze", h, b.const(np.array([1])))
        h = b.op("Squeeze", b.op("MatMul", h, b.weight(24, 24), to="m"), b.const(np.array([1])))
    b.output(b.op("Gemm", h, b.weight(24, 5), b.weight(5), to="y"), ["n", 5])
    return b.model()


def read_by(model: Model, label: str) -> list[str]:
    """Return the operators before a layer, the nearest first."""
    node = next(n for n in model.graph.nodes if n.label == label)
    found = []
    while (value := node.inputs[0]) is not None and value.producer is not None:
        node = value.producer
        found.append(node.op_type)
    return found


def test_inner_layers_read_signs_and_ends_stay() -> None:
    model, outcome, ctx = binarized(chain(), activations=True)
    assert outcome.counts == {"projections made": 1}
    assert read_by(model, "g1") == ["Sign", "BatchNormalization", "Flatten", "MaxPool", "Conv"]
    assert read_by(model, "y")[0] == "Relu"
    for before, after in zip(chain().weights(), model.weights(), strict=False):
        if before.shape in ((16, 4, 3, 3), (24, 5)):
            assert len(np.unique(after)) == after.size
    weight = next(w for w in model.weights() if w.shape == (144, 24))
    assert all(len(np.unique(np.abs(column))) == 1 for column in weight.T)  # no inputs' numbers
    assert ctx.diagnostics.declined("binarize") == {"first-layer": 1, "last-layer": 1}
    assert 0.01 < error(chain(), model) < 0.35  # 0.55 with signs of what is not centred


def test_ends_read_signs_if_asked_to() -> None:
    model, outcome, _ = binarized(net(), activations=True, protect_ends=False, planes=2)
    assert outcome.counts == {"projections made": 3}
    assert [read_by(model, label)[0] for label in ("c0", "c1", "c3")] == ["Sign"] * 3
    assert read_by(model, "c1")[2] == "Relu"  # the sum behind reads it, too
    assert most_values(model) == 4


def test_signs_need_channels_on_the_second_axis() -> None:
    model, _, ctx = binarized(chain(3), activations=True)
    assert read_by(model, "m")[0] == "Unsqueeze"
    assert ctx.diagnostics.declined("binarize")["axis"] == 1


def test_signs_need_data_and_a_fit() -> None:
    with pytest.raises(DataError, match="needs calibration data"):
        binarized(net(), data=False, activations=True)
    with pytest.raises(OptionError, match="fit=false"):
        Binarize(activations=True, fit=False)
