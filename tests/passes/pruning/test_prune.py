"""Magnitude pruning of models."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from onnx import TensorProto, helper

from ocompress.errors import OptionError
from ocompress.ir import edit
from ocompress.pipeline import Pipeline
from passes.pruning.prune import Prune
from tests.build import Builder
from tests.graphs import ZOO
from tests.passes.pruning.pruned import prune, stack


@pytest.mark.parametrize("share", [0.01, 0.5, 0.777, 0.99])
@pytest.mark.parametrize("scope", ["layer", "global"])
def test_exact_share_between_protected_ends(scope: str, share: float) -> None:
    result = prune(stack().model(), sparsity=share, scope=scope)
    assert result.codes == {"first-layer": 1, "last-layer": 1}
    assert result.zeros("w0", "w3") == 0
    if scope == "layer":
        assert result.zeros("w1") == round(share * 64 * 48)
        assert result.zeros("w2") == round(share * 48 * 40)
    else:
        assert result.zeros("w1", "w2") == round(share * (64 * 48 + 48 * 40))


def test_smallest_magnitudes_go_and_the_others_stay() -> None:
    result = prune(stack().model(), scope="layer")
    before = result.before.graph.initializers["w1"].data
    assert before is not None
    gone = result.weight("w1") == 0
    assert np.abs(before[gone]).max() <= np.abs(before[~gone]).min()
    np.testing.assert_array_equal(result.weight("w1")[~gone], before[~gone])


def test_global_line_compares_shares_of_a_layers_norm() -> None:
    result = prune(stack().model())
    zeroed = [result.zeros(n) / result.weight(n).size for n in ("w1", "w2")]
    assert zeroed[0] > 0.52 > 0.48 > zeroed[1]  # the larger layer gives more


def test_global_line_does_not_depend_on_the_scale_of_a_layer() -> None:
    plain, model = prune(stack().model()), stack().model()
    value = model.graph.initializers["w1"]
    assert value.data is not None
    edit.set_weight(value, value.data * 64)
    scaled = prune(model)
    for name in ("w1", "w2"):
        np.testing.assert_array_equal(scaled.weight(name) == 0, plain.weight(name) == 0)


def test_table_per_layer() -> None:
    result = prune(stack().model(), scope="layer", layers={"fc1": 0.25})
    every = result.outcome.details["layers"]
    assert [(r["name"], r.get("code")) for r in every] == [
        ("fc0", "first-layer"),
        ("fc1", None),
        ("fc2", None),
        ("fc3", "last-layer"),
    ]
    assert all(r["kept"] + r["removed"] == r["weights"] for r in every)
    assert every[0]["removed"] == 0
    rows = every[1:3]
    assert [r["sparsity"] for r in rows] == [0.25, 0.5]
    assert rows[0]["shape"] == [64, 48]
    assert rows[0]["kept"] == 2304
    before, after = result.before.graph.initializers["w1"].data, result.weight("w1")
    assert before is not None
    error = float(((before - after) ** 2).sum() / (before**2).sum())
    assert rows[0]["error"] == pytest.approx(error, rel=1e-4)
    assert rows[0]["threshold"] == np.abs(before[after == 0]).max()


def test_table_overrides_the_global_line_and_zero_leaves_alone() -> None:
    result = prune(stack().model(), layers={"fc1": 0.0, "fc*": 0.9})
    assert result.codes["zero-share"] == 1
    assert result.zeros("w1") == 0
    assert result.zeros("w2") == round(0.9 * 48 * 40)


def test_exclude() -> None:
    result = prune(stack().model(), exclude=("fc[12]",))
    assert result.codes["excluded"] == 2
    assert not result.outcome


@pytest.mark.parametrize("options", [{"exclude": ("fd1",)}, {"layers": {"fd1": 0.1}}])
def test_pattern_that_matches_nothing(options: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match=r"'fd1'.*matches no.*close are 'fc1'"):
        prune(stack().model(), **options)


def test_ends_can_be_pruned() -> None:
    result = prune(stack().model(), protect_ends=False, smallest=401, scope="layer")
    assert result.codes == {"too-small": 1}
    assert result.zeros("w0") == 32 * 64 // 2


@pytest.mark.parametrize("keep", [1, 2])
def test_n_of_m_along_the_reduction_axis(keep: int) -> None:
    b = stack(widths=(32, 64, 48, 10))
    result = prune(b.model(), pattern=f"{keep}:4", protect_ends=False, smallest=0)
    groups = result.weight("w1").reshape(16, 4, 48)
    np.testing.assert_array_equal((groups != 0).sum(1), np.full((16, 48), keep))


def test_n_of_m_of_a_convolution_counts_channels_and_the_remainder() -> None:
    b = Builder()
    h = b.op("Conv", b.input("x", [1, 6, 5, 5]), b.const(np.ones((4, 6, 3, 3), np.float32), "w"))
    b.op("Identity", h, to="y")
    b.output("y", [1, 4, 3, 3])
    result = prune(b.model(), pattern="1:4", protect_ends=False, smallest=0, sparsity=0.75)
    kept = result.weight("w") != 0
    np.testing.assert_array_equal(kept[:, :4].sum(1), np.ones((4, 3, 3)))
    np.testing.assert_array_equal(kept[:, 4:].sum(1), np.ones((4, 3, 3)))


@pytest.mark.parametrize("scope", ["layer", "global"])
def test_blocks(scope: str) -> None:
    result = prune(stack().model(), pattern="4x1", scope=scope, sparsity=0.5)
    blocks = result.weight("w1").reshape(64, 12, 4) == 0
    np.testing.assert_array_equal(blocks.all(2), blocks.any(2))
    assert result.zeros("w1", "w2") == (64 * 48 + 48 * 40) // 2


@pytest.mark.parametrize("dtype", [np.float16, np.float64, ml_dtypes.bfloat16])
def test_element_types(dtype: Any) -> None:
    result = prune(stack(dtype).model(), scope="layer")
    assert result.weight("w1").dtype == dtype
    assert result.zeros("w1") == 64 * 48 // 2


@pytest.mark.parametrize(
    "options", [{}, {"scope": "layer"}, {"pattern": "2:4"}, {"pattern": "3x5"}]
)
def test_existing_zeros_count(options: dict[str, Any]) -> None:
    once = prune(stack().model(), **options)
    again = prune(once.after, **options)
    assert not again.outcome
    assert again.codes["already-sparse"] == 2


def test_shared_weight_is_pruned_once() -> None:
    b = Builder()
    w = b.const(b.rng.standard_normal((32, 32)).astype(np.float32), "w")
    h = b.input("x", ["n", 32])
    for i in range(4):
        h = b.op("Gemm", h, w if i in (1, 2) else b.weight(32, 32), to=f"fc{i}")
    b.output(h, ["n", 32])
    result = prune(b.model())
    assert result.zeros("w") == 512
    assert result.outcome.counts["weights pruned"] == 1
    assert result.codes == {"first-layer": 1, "last-layer": 1}


def test_recurrent_operators_are_named() -> None:
    result = prune(ZOO["recurrent"]())
    assert not result.outcome
    assert result.codes == {"recurrent": 1}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sparsity": 1.0}, "sparsity"),
        ({"layers": {"a": -0.1}}, "a=-0.1"),
        ({"pattern": "4:2"}, "pattern='4:2'"),
        ({"pattern": "2:4", "sparsity": 0.7}, "contradicts"),
        ({"pattern": "1:4", "layers": {"a": 0.5}}, "contradicts"),
        ({"op_types": ("Relu",)}, "Relu"),
        ({"scope": "galaxy"}, "global"),
    ],
)
def test_bad_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        Prune(**options)


def test_text_form() -> None:
    written = 'prune{sparsity=0.7 pattern=4x1 layers={"/a/*"=0.1} exclude=[b*]}'
    item = Pipeline.parse(written).passes[1]
    assert item == Prune(sparsity=0.7, pattern="4x1", layers={"/a/*": 0.1}, exclude=("b*",))
    assert Pipeline.parse(str(item)).passes[1] == item


def test_layers_of_one_name_in_two_branches_are_told_apart() -> None:
    """Names are unique in a graph, not in a model: exporters count nodes anew in every body."""
    b = Builder(2)
    x, flag = b.input("x", [4, 16]), b.input("flag", [], TensorProto.BOOL)
    bodies = {}
    for key in ("then_branch", "else_branch"):
        node = helper.make_node("Gemm", [x, b.weight(16, 40)], ["h"], name="n0")
        ends = [helper.make_tensor_value_info("h", TensorProto.FLOAT, [4, 40])]
        bodies[key] = helper.make_graph([node], key, [], ends)
    b.ops("If", [flag], ["h"], **bodies)
    b.nodes[-1].name = "n0"
    b.op("Gemm", "h", b.weight(40, 40), to="y")
    b.output("y", [4, 40])
    model = b.model()
    result = prune(model, sparsity=0.5, scope="layer", smallest=1, protect_ends=False)
    weights = [v.data for v in result.after.graph.initializers.values() if v.data is not None]
    assert [round(float((w == 0).mean()), 2) for w in weights] == [0.5, 0.5, 0.5]
    assert result.outcome.counts["weights pruned"] == 3
    assert len({row["name"] for row in result.outcome.details["layers"]}) == 3
