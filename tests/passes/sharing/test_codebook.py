"""The pass `codebook`: weights made of words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from ocompress.archive.codes import PieceFacts, length
from ocompress.archive.forms import shortest
from ocompress.archive.grids import find_grid
from ocompress.archive.nodes import BLOCKS, CodecNode
from ocompress.errors import OptionError
from ocompress.ir import Model, edit, to_proto
from ocompress.pipeline import Context, Guard, Outcome, Verdict
from passes.sharing import codebooks
from passes.sharing.codebook import Codebook
from passes.sharing.codebooks import CodedLayer
from passes.sharing.common_words import primitive
from passes.sharing.layer_problem import LayerProblem, error_of
from passes.sharing.word_starts import BlockMetric, joined, means, split, start
from passes.sharing.words import in_a_byte, in_few_bits, rounded
from passes.storage.pack_weights import PackWeights
from tests.build import Builder
from tests.passes.pruning.on_data import Fake, error, run, weight_of
from tests.passes.pruning.test_prune_with_data import net
from tests.passes.sharing.test_palettes import problem


def encoded(
    model: Model, *, data: bool = True, guards: Sequence[Guard] = (), **options: Any
) -> tuple[Model, Outcome, Context]:
    return run(Codebook(**{"smallest": 0} | options), model, data=data, guards=guards)


def nearest(made: LayerProblem, metric: BlockMetric, count: int) -> CodedLayer:
    blocks = split(made.target, 4)
    words = start([(blocks, metric)], count, 0)
    return CodedLayer(words, metric.nearest(blocks, words)[0])


def test_blocks_and_back() -> None:
    matrix = np.arange(2 * 12 * 5.0).reshape(2, 12, 5)
    blocks = split(matrix, 3)
    assert blocks.shape == (2, 4, 5, 3)
    np.testing.assert_array_equal(blocks[1, 2, 3], matrix[1, 6:9, 3])
    np.testing.assert_array_equal(joined(blocks), matrix)


def test_words_are_means_by_the_metric() -> None:
    made = problem(groups=2)
    metric = BlockMetric.of(made.hessian, made.curvature, 4)
    blocks = split(made.target, 4)
    words = start([(blocks, metric)], 6, 0)
    codes, costs = metric.nearest(blocks, words)
    best = means([(blocks, metric)], [codes], words)

    def cost(tried: np.ndarray) -> float:
        off = blocks - tried[codes]
        each = np.einsum("gjoa,gjab,gjob->gjo", off, metric.grams, off)
        return float((each * metric.outputs[:, None]).sum())

    assert cost(words) == pytest.approx(float(costs.sum()))
    assert cost(best) <= cost(words)
    for at in range(6):
        for by in (-1e-3, 1e-3):
            moved = best.copy()
            moved[at, 1] += by
            assert cost(moved) >= cost(best)


def test_every_word_is_used() -> None:
    made = problem()
    metric = BlockMetric.plain(1, 6, 16, 4)
    words = start([(split(made.target, 4), metric)], 16, 3)
    codes, _ = metric.nearest(split(made.target, 4), words)
    assert len(np.unique(codes)) == 16


@pytest.mark.parametrize("pairs", [True, False])
@pytest.mark.parametrize("groups", [1, 3])
def test_second_order_loses_less_than_the_nearest_words(pairs: bool, groups: int) -> None:
    made = problem(pairs=pairs, groups=groups)
    plain = BlockMetric.plain(groups, 6, 16, 4)
    weighted = BlockMetric.of(made.hessian, made.curvature, 4)
    lost = [error_of(made, nearest(made, metric, 12).matrix) for metric in (plain, weighted)]
    coded, found = codebooks.encode(made, 4, 12)
    assert found < 0.8 * min(lost)
    assert found == pytest.approx(error_of(made, coded.matrix))
    assert coded.words.shape == (12, 4)


def test_neither_words_nor_choices_are_better() -> None:
    made = problem()
    coded, found = codebooks.encode(made, 4, 12)
    again = codebooks.refitted(made, coded, 60)
    assert error_of(made, again.matrix) == pytest.approx(found, rel=1e-3)
    for at in ((0, 2, 3), (0, 5, 15), (0, 0, 0)):
        for word in range(12):
            codes = coded.codes.copy()
            codes[at] = word
            assert error_of(made, replace(coded, codes=codes).matrix) >= found * (1 - 0.02)


@pytest.mark.parametrize("pairs", [True, False])
def test_blocks_choose_anew_once_words_have_moved(pairs: bool) -> None:
    made = problem(pairs=pairs)
    coded, _ = codebooks.encode(made, 4, 12)
    coarse = replace(coded, words=np.rint(coded.words / 0.4) * 0.4)
    before = coarse.codes.copy()
    anew = codebooks.chosen_anew(made, coarse)
    assert error_of(made, anew.matrix) < 0.99 * error_of(made, coarse.matrix)
    np.testing.assert_array_equal(coarse.codes, before)


def test_words_are_whole_numbers_of_a_byte_that_are_next() -> None:
    words = np.random.default_rng(0).standard_normal((16, 4))
    found = in_a_byte(words, np.dtype(np.float32))
    assert found is not None
    grid = find_grid(found.astype(np.float32), *found.shape)
    assert grid is not None
    assert 113 <= np.abs(grid.levels).max() <= 127
    assert np.abs(found - words).max() <= 0.501 * float(grid.scales[0])
    np.testing.assert_array_equal(found, found.astype(np.float16))
    assert in_a_byte(words * 1e-42, np.dtype(np.float32)) is None
    assert in_a_byte(words, np.dtype(np.float16)) is None


@pytest.mark.parametrize("pairs", [True, False])
def test_words_keep_16_bits_where_8_would_cost_much_more(pairs: bool) -> None:
    made, dtype = problem(pairs=pairs), np.dtype(np.float32)
    coded, _ = codebooks.encode(made, 4, 12)
    short = in_few_bits(made, coded, dtype)
    assert find_grid(short.words.astype(np.float32), *short.words.shape) is not None
    free = replace(made, target=rounded(coded.words, dtype)[coded.codes].swapaxes(2, 3))
    free = replace(free, target=free.target.reshape(made.target.shape))
    kept = in_few_bits(free, coded, dtype)
    assert error_of(free, kept.matrix) < 1e-12
    np.testing.assert_array_equal(kept.words, coded.words.astype(np.float16))


@pytest.mark.parametrize("pairs", [True, False])
def test_blocks_of_zeros_stay_and_the_rest_makes_up_for_them(pairs: bool) -> None:
    made = problem(pairs=pairs, groups=2)
    idle = np.random.default_rng(0).random(split(made.target, 4).shape[:3]) < 0.4
    idle[0, 0] = False
    free = np.asarray(joined(np.repeat(~idle[..., None], 4, axis=3)))
    masked = replace(made, free=free)
    coded, found = codebooks.encode(masked, 4, 12)
    assert not coded.matrix[~free].any()
    assert len(coded.words) == 12
    assert coded.words[1:].any(axis=1).all()
    assert found == pytest.approx(error_of(made, coded.matrix))
    metric = BlockMetric.of(made.hessian, made.curvature, 4)
    later = nearest(replace(made, target=made.target * free), metric, 12).matrix * free
    assert found < 0.9 * error_of(made, later)


@pytest.mark.parametrize("data", [True, False])
def test_what_was_pruned_whole_stays_zero(data: bool) -> None:
    model = net()
    by_label = {n.label: n for n in model.graph.nodes}
    value = by_label["c1"].inputs[1]
    assert value is not None
    assert value.data is not None
    weight = value.data.copy()
    weight[::3] = 0
    weight[1, 0] = 0
    edit.set_weight(value, weight)
    after, _, _ = encoded(model, codewords=16, data=data, permute=False)
    found = weight_of(next(n for n in after.graph.nodes if n.label == "c1"))
    assert found is not None
    assert not found[weight == 0].any()
    words = np.unique(found.reshape(-1, 9), axis=0)
    assert len(words) <= 16


def test_slices_of_kernels_and_inputs_become_words() -> None:
    model, outcome, _ = encoded(net(), codewords=16)
    weights = {n.label: w for n in model.graph.nodes if (w := weight_of(n)) is not None}
    rows = {row["name"]: row for row in outcome.details["codebooks"]}
    assert [r["block"] for r in rows.values()] == [9, 9, 4, 4]
    asked = [16, 16, 8, 2]  # words that nothing is left of are dropped
    assert all(n - 1 <= r["codewords"] <= n for r, n in zip(rows.values(), asked, strict=True))
    for name, each in (("c0", 9), ("c1", 9), ("c3", 4)):
        words = np.unique(weights[name].reshape(-1, each), axis=0)
        assert len(words) == rows[name]["codewords"]
        grid = find_grid(words, *words.shape)
        assert grid is not None
        assert 16 < np.abs(grid.levels).max() <= 127
        np.testing.assert_array_equal(words, words.astype(np.float16))
    assert len(np.unique(weights["y"].T.reshape(-1, 4), axis=0)) == 2
    assert outcome.counts["weights encoded"] == 4


def test_layers_that_make_up_for_each_other_lose_less() -> None:
    model = net()
    fitted = error(model, encoded(model, codewords=16)[0])
    assert fitted < 0.6 * error(model, encoded(model, codewords=16, fit=False)[0])


def test_more_words_lose_less() -> None:
    models = [encoded(net(), codewords=n, exclude=("c3", "y"))[0] for n in (4, 16, 64)]
    lost = [error(net(), model) for model in models]
    assert lost == sorted(lost, reverse=True)


def test_it_goes_as_far_as_the_limit_lets() -> None:
    sizes = []
    for limit in (0.0005, 0.02):

        def rule(candidate: Model, _: Model, limit: float = limit) -> Verdict:
            lost = error(net(), candidate)
            return Verdict(lost <= limit, "max-drop", "", {"drop": lost, "limit": limit})

        model, outcome, _ = encoded(net(), guards=[Fake("max-drop", rule)])
        assert error(net(), model) <= limit
        rows = outcome.details["codebooks"]
        sizes.append(sum(r.get("bits", 32) * r["weights"] for r in rows))
    assert sizes[1] < 0.8 * sizes[0]


def test_mean_bits_are_kept() -> None:
    _, outcome, _ = encoded(net(), mean_bits=2.0)
    rows = outcome.details["codebooks"]
    size = sum(r.get("bits", 32) * r["weights"] for r in rows)
    assert 1.2 < size / sum(r["weights"] for r in rows) <= 2.0


def test_what_others_save_more_than_is_said_so() -> None:
    _, outcome, ctx = encoded(net(), mean_bits=20.0)
    declined = ctx.diagnostics.declined("codebook")
    assert 0 < declined["not-chosen"] == sum("bits" not in r for r in outcome.details["codebooks"])
    assert "all-zero" not in declined


@pytest.mark.parametrize("data", [True, False])
def test_a_shared_weight_has_one_codebook(data: bool) -> None:
    model, outcome, _ = encoded(net(shared=True), codewords=16, data=data)
    assert outcome.counts["weights encoded"] == 4
    by_label = {n.label: n for n in model.graph.nodes}
    assert by_label["c1"].inputs[1] is by_label["c2"].inputs[1]


def test_all_layers_of_a_shared_weight_that_stays_are_named() -> None:
    def refused(*_: Model) -> Verdict:
        return Verdict(False, "max-drop", "", {"drop": 1.0, "limit": 0.1})

    _, outcome, ctx = encoded(net(shared=True), guards=[Fake("max-drop", refused)])
    assert not outcome
    assert {"c1", "c2"} <= {remark.node for remark in ctx.diagnostics.of("codebook")}


@pytest.mark.parametrize(
    ("block", "codes"),
    [("kernel", {"c3": "no-kernel", "y": "no-kernel"}), ("5", {"c0": "uneven-blocks"})],
)
def test_what_does_not_fit_is_named(block: str, codes: dict[str, str]) -> None:
    _, _, ctx = encoded(net(), block=block, data=False)
    found = {r.node: r.code for r in ctx.diagnostics.of("codebook")}
    assert codes.items() <= found.items()


@pytest.mark.parametrize("op_type", ["Conv", "ConvTranspose"])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_grouped_layers_of_either_type(op_type: str, dtype: type[np.floating[Any]]) -> None:
    b = Builder(4)
    x = b.input("x", ["n", 16, 6, 6], 1 if dtype is np.float32 else 10)
    draw = np.random.default_rng(0).standard_normal((16, 8, 3, 3)) / 4
    y = b.op(op_type, x, b.const(draw.astype(dtype)), to="y", group=2)
    b.output(y, ["n", 16, 4, 4] if op_type == "Conv" else ["n", 16, 8, 8])
    model, _, _ = encoded(b.model(), codewords=16, data=dtype is np.float32)
    (weight,) = (w for n in model.graph.nodes if (w := weight_of(n)) is not None)
    assert weight.dtype == dtype
    assert len(np.unique(weight.reshape(-1, 9), axis=0)) == 16


def wide(op_type: str) -> Model:
    b = Builder(4)
    x = b.input("x", ["n", 64, 6, 6] if op_type == "Conv" else ["n", 256])
    weight = b.weight(128, 64, 3, 3) if op_type == "Conv" else b.weight(256, 512)
    b.output(
        b.op(op_type, x, weight, to="y"), ["n", 128, 4, 4] if op_type == "Conv" else ["n", 512]
    )
    return b.model()


@pytest.mark.parametrize("op_type", ["Conv", "MatMul"])
def test_packed_and_archived_they_take_their_bits(op_type: str) -> None:
    model, outcome, _ = encoded(wide(op_type), data=False, codewords=64)
    (row,) = outcome.details["codebooks"]
    wanted = row["bits"] * row["weights"] / 8
    packed, _, _ = run(PackWeights(), model)
    assert sum(len(i.raw_data) for i in to_proto(packed).graph.initializer) <= 1.01 * wanted + 100
    weight = weight_of(model.graph.nodes[0])
    assert weight is not None
    columns, inner = weight.size // len(weight), int(np.prod(weight.shape[2:]))
    node = shortest(weight.tobytes(), 4, PieceFacts(1, columns=columns, inner=inner))
    assert BLOCKS in codecs(node)
    assert length(node) <= 1.01 * wanted + 60


def codecs(node: CodecNode) -> list[int]:
    return [node.codec, *(codec for below in node.below for codec in codecs(below))]


def levels(weight: np.ndarray) -> np.ndarray:
    """Return the whole numbers of a kernel with a scale for each output, by slice."""
    grid = find_grid(weight.reshape(len(weight), -1), 1, weight[0].size)
    assert grid is not None
    return grid.levels.reshape(-1, int(np.prod(weight.shape[2:])))


@pytest.mark.parametrize("data", [True, False])
def test_layers_share_words(data: bool) -> None:
    model, outcome, _ = encoded(net(), codewords=16, scope="model", data=data)
    weights = {n.label: w for n in model.graph.nodes if (w := weight_of(n)) is not None}
    words = [np.unique(levels(weights[name]), axis=0) for name in ("c0", "c1")]
    assert all(1 < len(own) <= 16 for own in words)
    assert len(np.unique(np.concatenate(words), axis=0)) <= 16
    assert max(np.abs(own).max() for own in words) <= 127
    packed, _, _ = run(PackWeights(smallest=64), model)
    tables = [i for i in to_proto(packed).graph.initializer if list(i.dims)[1:] == [9]]
    assert len(tables) == 1
    assert outcome.counts["weights encoded"] == 4


def test_shared_words_are_fitted_too() -> None:
    options: dict[str, Any] = {"scope": "model", "exclude": ("c3", "y")}
    lost = [error(net(), encoded(net(), codewords=n, **options)[0]) for n in (4, 16, 64)]
    assert lost == sorted(lost, reverse=True)
    assert lost[1] < 0.6 * error(net(), encoded(net(), codewords=16, fit=False, **options)[0])


def test_shared_words_go_as_far_as_bytes_allow() -> None:
    _, outcome, _ = encoded(net(), mean_bits=2.5, scope="model")
    rows = outcome.details["codebooks"]
    assert sum(r.get("bits", 32) * r["weights"] for r in rows) <= 2.5 * sum(
        r["weights"] for r in rows
    )
    assert len({r["codewords"] for r in rows if r["block"] == 9}) >= 1


@pytest.mark.parametrize(
    "word", [(4.0, 2.4, 0.2), (127, 0, 0), (-126, 126.4, 63), (0, 0, 0), (30, 42, 70), (6, 10, 15)]
)
def test_numbers_of_a_word_have_no_factor_in_common(word: tuple[float, ...]) -> None:
    (found,) = primitive(np.array([word]))
    assert np.gcd.reduce(found.astype(int)) == (1 if any(word) else 0)
    assert np.abs(found).max() <= 127
    assert np.abs(found - word).max() <= 1


def test_a_scale_that_cannot_be_written_is_not_shared() -> None:
    b = Builder(4)
    x = b.input("x", ["n", 16, 6, 6])
    x = b.op("ConvTranspose", x, b.weight(16, 16, 3, 3), to="t")
    y = b.op("Conv", x, b.weight(16, 16, 3, 3), to="y")
    b.output(y, ["n", 16, 6, 6])
    model, _, _ = encoded(b.model(), codewords=16, scope="model", data=False)
    weights = [w for n in model.graph.nodes if (w := weight_of(n)) is not None]
    for weight in weights:
        assert len(np.unique(weight.reshape(-1, 9), axis=0)) == 16


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"op_types": ("Gather",)}, "op_types names 'Gather'"),
        ({"block": "1"}, "block='1' is not one of"),
        ({"codewords": 16, "mean_bits": 1.0}, "leave out codewords"),
    ],
)
def test_options_that_make_no_sense(options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        Codebook(**options)


def test_numbers_of_words_lie_close_enough_to_use_the_bits() -> None:
    _, outcome, _ = encoded(wide("MatMul"), data=False, block="4", mean_bits=1.3)
    assert outcome.details["codebooks"][0]["codewords"] == 32
