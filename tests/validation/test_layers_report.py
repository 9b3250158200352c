"""Where a quantized model loses quality: hand-made models with one known fault."""

from __future__ import annotations

import numpy as np
import pytest

from ocompress import targets
from ocompress.analysis.quantized import DQ, Q
from ocompress.errors import DataError, OptionError
from ocompress.front.debugging import debug_quantization
from ocompress.ir import Model, edit
from ocompress.pipeline import PassManager, Pipeline
from ocompress.report.tables_layers import suggestion
from ocompress.validation.layer_result import QuantReport, spearman
from tests.build import Array, Builder, InMemory, feeds
from tests.graphs import ZOO

LAYERS = ("first", "second", "third")


def chain(width: int = 16) -> Model:
    b = Builder(3)
    x = b.input("x", ["n", 16])
    before = 16
    for name in LAYERS[:-1]:
        h = b.op("Gemm", x, b.weight(before, width), b.weight(width), to=name)
        before = width
        x = b.op("Relu", h, to=f"{name}_relu")
    b.op("Gemm", x, b.weight(width, 5), b.weight(5), to="third")
    b.output("third", ["n", 5])
    return b.model()


def samples(count: int = 24, width: int = 16) -> InMemory:
    x = np.random.default_rng(1).standard_normal((count, width)).astype(np.float32)
    return InMemory([{"x": x[: count // 2]}, {"x": x[count // 2 :]}])


def quantized(model: Model, data: InMemory) -> Model:
    manager = PassManager(target=targets.find("portable"), data=data)
    return manager.run(Pipeline.parse("quant{keep_slower=true}"), model).model


def spoil(model: Model, value: str, factor: float) -> Model:
    """Multiply the scale of one value's grid."""
    other = model.clone()
    (quantize,) = (n for _, n in other.nodes() if n.is_op(Q) and n.inputs[0].name == value)  # type: ignore[union-attr]
    for node in (quantize, *(reader for reader, _ in quantize.output.users)):
        scale = edit.own_weight(node, 1)
        assert scale.data is not None
        edit.set_weight(scale, scale.data * np.float32(factor))
    return other


def report(
    reference: Model, candidate: Model, data: InMemory, *, alone: bool = False
) -> QuantReport:
    return debug_quantization(reference, candidate, data, measure_sensitivity=alone)


def test_a_sound_model_has_small_losses_everywhere() -> None:
    data = samples()
    found = report(chain(), quantized(chain(), data), data)
    assert [e.node for e in found.layers] == ["x", *LAYERS]
    assert [e.quantized for e in found.layers] == [False, True, True, True]
    assert all(30 < e.sqnr_db < 60 and 30 < e.own_db < 70 for e in found.layers)
    assert found.missing == found.extra == ()
    assert found.samples == 24
    assert found.canonical


@pytest.mark.parametrize("name", LAYERS[:-1])
@pytest.mark.parametrize("factor", [0.1, 20.0])
def test_a_wrong_scale_is_named_first(name: str, factor: float) -> None:
    data = samples()
    candidate = spoil(quantized(chain(), data), f"{name}_relu", factor)
    found = report(chain(), candidate, data, alone=True)
    assert found.breaks_at == name
    assert found.keep[0] == name
    assert found.worst == (name,)
    own = {e.node: e.own_db for e in found.layers}
    assert all(own[n] > own[name] + 10 for n in LAYERS if n != name)  # the others only inherit
    assert min(found.sensitivity, key=lambda s: s.sqnr_db).node == name
    clipped = {e.node: e.clipped for e in found.layers}
    assert (clipped[name] or 0) > 0.2 if factor < 1 else not clipped[name]


def test_without_sensitivity_the_noise_added_decides() -> None:
    data = samples()
    found = report(chain(), spoil(quantized(chain(), data), "first_relu", 0.1), data)
    assert found.sensitivity == ()
    assert found.keep[0] == "first"


def test_a_wrong_weight_is_blamed_on_its_node() -> None:
    data = samples()
    candidate = quantized(chain(), data)
    (node,) = (n for _, n in candidate.nodes() if n.label == "second")
    restore = node.inputs[1].producer  # type: ignore[union-attr]
    assert restore is not None
    scale = edit.own_weight(restore, 1)
    edit.set_weight(scale, scale.data * np.float32(1.5))  # type: ignore[operator]
    found = report(chain(), candidate, data, alone=True)
    assert found.breaks_at == found.keep[0] == "second"


def test_the_suggestion_breaks_at_spaces_and_parses() -> None:
    text = suggestion(["/a/conv", "/b[0]"])
    assert text == 'quant{exclude=[/a/conv,"/b[[]0]"]}'
    text = suggestion(["/a/conv", "/b/conv"])
    assert text == "quant{exclude=[/a/conv, /b/conv]}"
    broken = text.replace(", ", ",\n")
    assert str(Pipeline.parse(broken).passes[-1]) == "quant{exclude=[/a/conv,/b/conv]}"
    assert suggestion([]) == ""


def by_hand(weight: Array, *, scale: float = 1.0, zero: int = 0) -> tuple[Model, Model]:
    """Make `y = x @ W`, and the same between the grids of x and of W."""
    pair = []
    for rounded in (False, True):
        b = Builder()
        x = b.input("x", ["n", len(weight)])
        w = b.const(weight.astype(np.float32), "w")
        if rounded:
            grid = b.const(np.float32(scale)), b.const(np.uint8(zero))
            x = b.op(DQ, b.op(Q, x, *grid), *grid)
            w = b.op(DQ, b.const(weight.astype(np.int8)), b.const(np.float32(1)))
        b.op("MatMul", x, w, to="y")
        b.output("y", ["n", weight.shape[1]])
        pair.append(b.model())
    return pair[0], pair[1]


def test_clipped_and_saturated_counts_are_exact() -> None:
    reference, candidate = by_hand(np.ones((4, 1)), zero=1)  # the grid is -1 .. 254
    x = np.array([[-3, -1.4, -1.6, 0], [254.4, 254.6, 300, 5]], np.float32)
    found = report(reference, candidate, InMemory([{"x": x}]))
    (entry,) = (e for e in found.layers if e.node == "x")
    assert (entry.grid_low, entry.grid_high) == (-1, 254)
    assert entry.clipped == 4 / 8  # -3, -1.6, 254.6, 300
    assert entry.saturated == 6  # and -1.4, 254.4, which the ends stand for
    assert (entry.low, entry.high) == (-3, 300)
    assert entry.op_type == "input"


def test_an_end_that_stands_for_zero_is_not_saturated() -> None:
    reference, candidate = by_hand(np.ones((2, 1)))
    found = report(
        reference, candidate, InMemory([{"x": np.array([[0, -7], [255, 3]], np.float32)}])
    )
    assert found.layers[0].saturated == 1
    assert found.layers[0].clipped == 1 / 4


def test_pair_sums_that_clip_are_counted_exactly() -> None:
    weight = np.array([[127, 64], [127, 65], [1, -128], [-1, -1]])
    reference, candidate = by_hand(weight)
    x = np.array([[255, 255, 255, 255], [128, 130, 255, 255], [0, 255, 0, 0]], np.float32)
    found = report(reference, candidate, InMemory([{"x": x}]))
    (entry,) = (e for e in found.layers if e.node == "y")
    assert entry.pair_sums == 3 * 2 * 2
    # 255*(127+127); 128*127+130*127 = 32766 does not; 255*(64+65) = 32895; -255*(128+1) = -32895
    # in two rows
    assert entry.pair_clips == 4


def test_a_relu_that_the_grid_made_needless_stands_for_its_input() -> None:
    data = samples(8, 4)
    pair = []
    for rounded in (False, True):
        b = Builder(2)
        x = b.input("x", ["n", 4])
        w = b.const(np.eye(4, dtype=np.float32), "w")
        grid = b.const(np.float32(0.02)), b.const(np.uint8(0))
        if rounded:
            w = b.op(DQ, b.const(np.eye(4, dtype=np.int8)), b.const(np.float32(1)))
            h = b.op("MatMul", x, w, to="h")
            h = b.op(DQ, b.op(Q, h, *grid), *grid)
        else:
            h = b.op("Relu", b.op("MatMul", x, w, to="h"), to="r")
        b.op("Sigmoid", h, to="y")
        b.output("y", ["n", 4])
        pair.append(b.model())
    found = report(pair[0], pair[1], data)
    (entry,) = (e for e in found.layers if e.node == "h")
    assert entry.value == "r"
    assert entry.sqnr_db > 30
    assert entry.clipped == 0


def test_values_are_matched_in_the_form_that_fits() -> None:
    """Folding a BatchNormalization moves its meaning to the output of the convolution."""
    model = ZOO["conv_bn_relu"]()
    rng = np.random.default_rng(0)
    shape = [d if isinstance(d, int) else 2 for d in model.graph.inputs[0].shape or ()]
    data = InMemory([{model.graph.inputs[0].name: rng.standard_normal(shape).astype(np.float32)}])
    raw = model.clone()
    conv = next(n for _, n in raw.nodes() if n.is_op("Conv"))
    scale = raw.graph.constant("s", np.array(0.05, np.float32))
    zero = raw.graph.constant("z", np.array(128, np.uint8))
    code = raw.graph.add_op(Q, [conv.output, scale, zero], name="code").output
    restored = raw.graph.add_op(DQ, [code, scale, zero], name="restored").output
    for reader, index in conv.output.users:
        if not reader.is_op(Q):
            reader.set_input(index, restored)
    given = raw.graph.constant("i", np.ones((16, 3, 3, 3), np.int8))
    one = raw.graph.constant("one", np.array(1, np.float32))
    conv.set_input(1, raw.graph.add_op(DQ, [given, one], name="weight").output)
    raw.sort()
    assert not report(model, raw, data).canonical
    found = report(model, quantized(model, data), data, alone=True)
    assert found.canonical
    ops = {e.node: e.op_type for e in found.layers}
    alone = {ops[s.node] for s in found.sensitivity}
    assert "Flatten" in ops.values()
    assert alone == {"Conv", "Gemm", "GlobalAveragePool"}  # Flatten moves codes and loses nothing


def test_wide_data_give_the_same_report(monkeypatch: pytest.MonkeyPatch) -> None:
    data = samples()
    candidate = quantized(chain(), data)
    whole = report(chain(), candidate, data)
    monkeypatch.setattr("ocompress.analysis.observe.MOST_BYTES", 2000)
    monkeypatch.setattr("ocompress.validation.value_sum._CHUNK", 20)
    cut = report(chain(), candidate, data)
    for left, right in zip(whole.layers, cut.layers, strict=True):
        assert left.sqnr_db == pytest.approx(right.sqnr_db, abs=1e-3)
        assert left.own_db == pytest.approx(right.own_db, abs=1e-3)
        assert (left.saturated, left.elements) == (right.saturated, right.elements)


def test_wrong_requests_get_a_sentence() -> None:
    data = samples()
    candidate = quantized(chain(), data)
    with pytest.raises(DataError, match="--data"):
        debug_quantization(chain(), candidate, None)
    with pytest.raises(OptionError, match="no layer of the candidate is quantized"):
        report(candidate, chain(), data)
    with pytest.raises(OptionError, match=r"of 3 values that quantized layers make, .* has 1"):
        report(chain(width=9), candidate, data)
    with pytest.raises(OptionError, match=r"do not match: the inputs"):
        report(ZOO["embedding"](), candidate, data)
    with pytest.raises(OptionError, match=r"do not match: the outputs .* are y, .* third"):
        report(by_hand(np.ones((16, 1)))[0], candidate, data)


def test_ranks_that_agree_and_disagree() -> None:
    assert spearman([1, 2, 3], [10, 20, 90]) == pytest.approx(1)
    assert spearman([1, 2, 3], [3, 2, 1]) == pytest.approx(-1)
    assert spearman([1, 1, 2, 2], [1, 1, 2, 2]) == pytest.approx(1)
    assert spearman([1, 1], [1, 2]) is None
    assert spearman([], []) is None


@pytest.mark.parametrize("name", ["if_bodies", "loop_body", "attention", "sequences", "bfloat16"])
def test_odd_models_are_read_too(name: str) -> None:
    model = ZOO[name]()
    data = InMemory([feeds(model, seed) for seed in range(3)])
    found = report(model, quantized(model, data), data, alone=True)
    assert any(e.quantized for e in found.layers)
    assert all(e.sqnr_db > 25 for e in found.layers)
    assert all(e.sqnr_db < 80 for e in found.layers if e.grid_low is not None)
    assert found.missing == found.extra == ()


def test_a_renamed_output_is_matched_by_its_node() -> None:
    b = Builder(4)
    x = b.input("x", ["n", 16])
    b.op("Gemm", b.op("Gemm", x, b.weight(16, 16), to="a"), b.weight(16, 4), to="y")
    b.output("y", ["n", 4])
    model, data = b.model(), samples()
    candidate = quantized(model, data)
    value = next(n for _, n in candidate.nodes() if n.label == "a").output
    candidate.graph.rename(value, "elsewhere")
    found = report(model, candidate, data)
    (entry,) = (e for e in found.layers if e.node == "a")
    assert entry.value == "a"
    assert entry.sqnr_db > 30
    assert found.missing == found.extra == ()


def test_a_layer_is_not_compared_with_one_on_other_inputs() -> None:
    """What stands before a layer in one model may be folded into its weights in the other."""
    weight = np.random.default_rng(0).integers(-100, 100, (4, 3))
    pair = []
    for rounded in (False, True):
        b = Builder()
        x = b.input("x", ["n", 4])
        if rounded:
            grid = b.const(np.float32(0.1)), b.const(np.uint8(128))
            h = b.op("Mul", x, b.const(np.float32(2)), to="h")
            w = b.op(DQ, b.const(weight.astype(np.int8)), b.const(np.float32(1)))
            b.op("MatMul", b.op(DQ, b.op(Q, h, *grid), *grid), w, to="y")
        else:
            b.op("MatMul", x, b.const((2 * weight).astype(np.float32)), to="y")
        b.output("y", ["n", 3])
        pair.append(b.model())
    found = report(pair[0], pair[1], samples(8, 4), alone=True)
    (entry,) = (e for e in found.layers if e.node == "y")
    assert entry.own_db == entry.sqnr_db > 25
    assert found.sensitivity == ()
    assert any("could not be measured" in remark for remark in found.remarks)
    assert found.extra == ("h",)


def test_only_nodes_that_quant_knows_are_suggested() -> None:
    """A candidate made of the raw model has nodes that canonicalizing takes away."""
    b = Builder(0)
    x = b.input("x", ["n", 3, 6, 6])
    h = b.batch_norm(b.op("Conv", x, b.weight(4, 3, 3, 3), to="conv"), 4, to="norm")
    b.op("Add", h, h, to="y")
    b.output("y")
    raw = b.model()
    grid = raw.graph.constant("s", np.array(0.5, np.float32))
    zero = raw.graph.constant("z", np.array(128, np.uint8))
    for name in ("conv", "norm"):
        value = next(n for _, n in raw.nodes() if n.label == name).output
        code = raw.graph.add_op(Q, [value, grid, zero], name=f"{name}_code").output
        restored = raw.graph.add_op(DQ, [code, grid, zero], name=f"{name}_restored").output
        for reader, index in value.users:
            if not reader.is_op(Q):
                reader.set_input(index, restored)
    raw.sort()
    found = report(b.model(), raw, InMemory([feeds(raw)]))
    assert {e.node: (e.quantized, e.excludable) for e in found.layers}["norm"] == (True, False)
    assert "norm" not in found.keep
