"""The pass `cluster`: weights that share a few values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import pytest

from ocompress.errors import OptionError
from ocompress.ir import Model, to_proto
from ocompress.pipeline import Context, Guard, Outcome, Verdict
from passes.pruning.prune import Prune
from passes.sharing.cluster import Cluster
from passes.storage.pack_weights import PackWeights
from tests.build import Builder
from tests.passes.pruning.on_data import Fake, error, run, weight_of
from tests.passes.pruning.test_prune_with_data import net


def clustered(
    model: Model, *, data: bool = True, guards: Sequence[Guard] = (), **options: Any
) -> tuple[Model, Outcome, Context]:
    return run(Cluster(smallest=0, **options), model, data=data, guards=guards)


def values_of(model: Model) -> dict[str, int]:
    """Return how many different values the weight of each layer has."""
    found = ((n.label, weight_of(n)) for n in model.graph.nodes)
    return {name: len(np.unique(w)) for name, w in found if w is not None and w.ndim > 1}


@pytest.mark.parametrize("data", [True, False])
@pytest.mark.parametrize("bits", [2, 4])
def test_each_layer_has_as_many_values_as_asked_for(data: bool, bits: int) -> None:
    model, outcome, _ = clustered(net(), data=data, bits=bits)
    assert set(values_of(model).values()) == {1 << bits}
    assert outcome.counts == {"weights clustered": 4}
    rows = outcome.details["clusters"]
    assert [r["name"] for r in rows] == ["c0", "c1", "c3", "y"]
    for row in rows:
        assert row["values"] == 1 << bits
        assert row["bits"] == pytest.approx(bits + 32 * 2**bits / row["weights"], rel=0.01)


def test_more_values_lose_less() -> None:
    lost = [error(net(), clustered(net(), bits=bits)[0]) for bits in (1, 2, 3, 4)]
    assert lost == sorted(lost, reverse=True)
    assert lost[3] < 0.05 * lost[0]


def test_layers_that_make_up_for_each_other_lose_less() -> None:
    model = net()
    fitted = error(model, clustered(model, bits=2)[0])
    assert fitted < 0.5 * error(model, clustered(model, bits=2, fit=False)[0])


def test_bits_by_layer() -> None:
    model, _, _ = clustered(net(), bits=2, layers={"c1": 4})
    assert values_of(model) == {"c0": 4, "c1": 16, "c3": 4, "y": 4}
    with pytest.raises(OptionError, match="'nothing', which matches no layer"):
        clustered(net(), layers={"nothing": 4})


def test_mean_bits_go_where_they_pay() -> None:
    equal, outcome, _ = clustered(net(), bits=3)
    rows = outcome.details["clusters"]
    size = sum(r["weights"] for r in rows)
    mean = sum(r["bits"] * r["weights"] for r in rows) / size
    model, outcome, _ = clustered(net(), mean_bits=mean)
    rows = outcome.details["clusters"]
    assert sum(r.get("bits", 32) * r["weights"] for r in rows) / size <= mean
    assert sum(r.get("predicted_error", 0) for r in rows) > 0
    assert error(net(), model) < error(net(), equal)


def test_zeros_of_prune_stay_and_are_one_of_the_values() -> None:
    pruned, _, _ = run(Prune(protect_ends=False, smallest=0, sparsity=0.6), net())
    for data in (True, False):
        model, _, _ = clustered(pruned, bits=3, data=data)
        for before, after in zip(pruned.graph.nodes, model.graph.nodes, strict=True):
            old, new = weight_of(before), weight_of(after)
            if old is not None and new is not None and old.ndim > 1:
                assert not new[old == 0].any()
                assert not np.signbit(new[new == 0]).any()
                assert len(np.unique(new)) <= 8


@pytest.mark.parametrize("scope", ["channels", "model"])
def test_scopes(scope: str) -> None:
    model, outcome, _ = clustered(net(), bits=3, scope=scope, channels=4)
    every = [w for n in model.graph.nodes if (w := weight_of(n)) is not None and w.ndim > 1]
    if scope == "model":
        assert len(np.unique(np.concatenate([w.reshape(-1) for w in every]))) <= 8
        return
    assert outcome.details["clusters"][1]["palettes"] == -(-every[1].shape[0] // 4)
    for row, weight in zip(outcome.details["clusters"], every, strict=True):
        assert row["values"] > 8 or weight.shape[0] <= 4
        last = weight if row["name"] != "y" else weight.T
        for first in range(0, len(last), 4):
            assert len(np.unique(last[first : first + 4])) <= 8


def test_it_goes_as_far_as_the_limit_lets() -> None:
    sizes = []
    for limit in (0.0005, 0.01):

        def rule(candidate: Model, _: Model, limit: float = limit) -> Verdict:
            lost = error(net(), candidate)
            return Verdict(lost <= limit, "max-drop", "", {"drop": lost, "limit": limit})

        guard = Fake("max-drop", rule)
        model, outcome, _ = clustered(net(), guards=[guard])
        assert error(net(), model) <= limit
        assert guard.asked < 10
        sizes.append(sum(r["bits"] * r["weights"] for r in outcome.details["clusters"]))
    assert sizes[1] < 0.8 * sizes[0]


def test_any_layer_of_a_shared_weight_may_say_how_many_bits() -> None:
    model, _, _ = clustered(net(shared=True), layers={"c2": 1})
    weight = weight_of(next(n for n in model.graph.nodes if n.label == "c1"))
    assert weight is not None
    assert len(np.unique(weight)) == 2


def test_a_shared_weight_is_clustered_once() -> None:
    model, outcome, _ = clustered(net(shared=True), bits=3)
    assert outcome.counts == {"weights clustered": 4}
    by_label = {n.label: n for n in model.graph.nodes}
    assert by_label["c1"].inputs[1] is by_label["c2"].inputs[1]


def test_what_has_few_values_is_left_alone() -> None:
    once, _, _ = clustered(net(), bits=3)
    again, outcome, ctx = clustered(once, bits=3)
    assert not outcome
    assert ctx.diagnostics.declined("cluster")["few-values"] == 4
    assert values_of(again) == values_of(once)


def test_of_what_is_chosen_by_bytes_each_weight_that_stays_has_its_reason() -> None:
    few, _, _ = clustered(net(), bits=1)
    assert clustered(few, mean_bits=3.0)[2].diagnostics.declined("cluster") == {"few-values": 4}
    some = clustered(net(), mean_bits=25.0)[2].diagnostics.declined("cluster")
    assert set(some) == {"not-chosen"}


@pytest.mark.parametrize("op_type", ["Conv", "ConvTranspose"])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_grouped_layers_of_either_type(op_type: str, dtype: type[np.floating[Any]]) -> None:
    b = Builder(4)
    x = b.input("x", ["n", 8, 6, 6], 1 if dtype is np.float32 else 10)
    draw = np.random.default_rng(0).standard_normal((8, 4, 3, 3)) / 4
    y = b.op(op_type, x, b.const(draw.astype(dtype)), to="y", group=2)
    b.output(y, ["n", 8, 4, 4] if op_type == "Conv" else ["n", 8, 8, 8])
    model, _, _ = clustered(b.model(), bits=4, data=dtype is np.float32)
    (weight,) = (w for n in model.graph.nodes if (w := weight_of(n)) is not None)
    assert weight.dtype == dtype
    assert len(np.unique(weight)) == 16


def test_packed_they_take_their_bits() -> None:
    b = Builder(4)
    b.output(b.op("MatMul", b.input("x", ["n", 128]), b.weight(128, 256), to="y"), ["n", 256])
    model, _, _ = clustered(b.model(), data=False, bits=4)
    packed, _, _ = run(PackWeights(), model)
    size = sum(len(i.raw_data) for i in to_proto(packed).graph.initializer)
    assert size <= 128 * 256 * 4 * (4 / 32 + 0.01)
    assert isinstance(to_proto(packed), onnx.ModelProto)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"op_types": ("Add",)}, "op_types names 'Add'"),
        ({"layers": {"a": 9}}, "9 bits, not 1 to 8"),
        ({"bits": 3, "mean_bits": 3.0}, "leave out bits and layers"),
    ],
)
def test_options_that_make_no_sense(options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        Cluster(**options)
