"""Whatever the values of a weight have in common, they have in common after training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install ocompress[tune]")

from ocompress.archive.cosines import Plane, find_cosines, summed
from ocompress.archive.fastfood import find_fastfood
from ocompress.archive.grids import find_grid
from ocompress.archive.tied_places import buckets_of, diagonals, find_circulant, find_hashed
from ocompress.ir import DType, onnx_api
from ocompress.training import structure
from ocompress.training.forms import TiedForm
from ocompress.training.moving_forms import Signs, train_columns
from ocompress.training.picture_form import FreeCosines, plane_of
from ocompress.training.settings import Settings
from ocompress.training.sign_planes import find_planes
from ocompress.training.trained import TrainedModel
from ocompress.training.word_form import few_blocks
from tests.archive.test_fastfood import made
from tests.build import Builder

Array = np.ndarray
RNG = np.random.default_rng(0)
_STATE = RNG.bit_generator.state


@pytest.fixture(autouse=True)
def _afresh() -> None:
    """Draw the same in a test whatever ran before it: of 6,000 numbers two may be equal."""
    RNG.bit_generator.state = _STATE


def form_of(array: Array, *, moves_levels: bool = False) -> TiedForm:
    form = structure.form_of(array, moves_levels=moves_levels)
    assert form is not None
    return form


def _draw(*shape: int) -> Array:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


def _masked() -> Array:
    weight = _draw(24, 16)
    weight[np.abs(weight) < 1] = 0
    return weight


def _palette() -> Array:
    values = np.array([-0.31, 0.0, 0.127, 0.55], np.float32)
    return np.take(values, RNG.integers(0, 4, (8, 4, 3, 3)))


def _codewords() -> Array:
    return np.take(_draw(6, 9), RNG.integers(0, 6, 64), axis=0).reshape(8, 8, 3, 3)


def _whole_words(extent: int = 8) -> Array:
    """Make words of whole numbers of 8 bits times one unit, a sixteenth of the blocks."""
    words = np.clip(np.rint(40 * _draw(extent, 4)), -127, 127)
    words[0, 0] = 127
    return np.asarray(words * np.float32(0.0131), np.float32)


def _columns_of_words() -> Array:
    return np.take(_whole_words(), RNG.integers(0, 8, (16, 12)), axis=0).reshape(16, 48).T.copy()


def _one_step() -> Array:
    return (RNG.integers(-40, 41, (24, 16)) * np.float32(0.0125)).astype(np.float32)


def _step_each(axis: int) -> Array:
    steps = np.abs(_draw(24 if axis == 0 else 16)) + np.float32(0.5)
    levels = RNG.integers(-90, 91, (24, 16)).astype(np.float32)
    found: Array = levels * (steps[:, None] if axis == 0 else steps)
    return found


def _signs() -> Array:
    """Make one magnitude for each output (binary weights)."""
    found: Array = np.sign(_draw(24, 36)) * np.abs(_draw(24, 1))
    return found


FORMS: dict[str, tuple[Callable[[], Array], str]] = {
    "mask": (_masked, "free"),
    "palette": (_palette, "shared"),
    "codewords": (_codewords, "shared"),
    "one step": (_one_step, "grid"),
    "a step for each row": (lambda: _step_each(0), "grid"),
    "a step for each column": (lambda: _step_each(1), "grid"),
    "signs": (_signs, "grid"),
    "dense": (lambda: _draw(12, 16), "free"),
    "offsets": (lambda: _draw(64), "free"),
}


def trained(form: TiedForm, by: float = 0.3) -> Array:
    """Return what is written after random gradients moved all there is to move."""
    with torch.no_grad():
        for leaf in form.leaves:
            drawn = torch.from_numpy(by * leaf.size * _draw(*leaf.tensor.shape))
            leaf.tensor -= leaf.held(drawn)
    return form.exact()


@pytest.mark.parametrize("name", FORMS)
def test_form_is_found_and_kept(name: str) -> None:
    build, expected = FORMS[name]
    before = build()
    form = form_of(before)
    assert form.name == expected
    np.testing.assert_array_equal(form.exact(), before)
    np.testing.assert_allclose(form.value().detach().numpy(), before, rtol=1e-6)
    after = trained(form)
    assert after.dtype == np.float32
    assert after.shape == before.shape
    assert not np.array_equal(after, before)
    np.testing.assert_array_equal(after == 0, before == 0)
    assert len(np.unique(after)) == len(np.unique(before))
    np.testing.assert_allclose(form.value().detach().numpy(), after, rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize("moves_levels", [True, False])
def test_words_in_columns_stay_whole_numbers_of_8_bits(moves_levels: bool) -> None:
    before = _columns_of_words()
    form = form_of(before, moves_levels=moves_levels)
    np.testing.assert_array_equal(form.exact(), before)
    np.testing.assert_array_equal(form.value().detach().numpy(), before)
    after = trained(form, by=0.01)
    words = np.unique(after.T.reshape(-1, 4), axis=0)
    assert len(words) == 8
    grid = find_grid(words, *words.shape)
    assert grid is not None
    assert 64 < np.abs(grid.levels).max() <= 127


def test_numbers_of_a_word_that_are_zero_are_trained_and_words_of_zeros_are_not() -> None:
    words = _whole_words()
    words[0], words[1, 2] = 0, 0
    which = np.random.default_rng(1).integers(0, 8, 192)
    after = trained(form_of(np.take(words, which, axis=0).reshape(16, 48))).reshape(-1, 4)
    assert not after[which == 0].any()
    assert after[which == 1, 2].all()


def test_integers_of_many_bits_are_no_words() -> None:
    assert form_of(_one_step()).name == "grid"
    few = (RNG.integers(-9, 10, (48, 48)) * np.float32(0.0125)).astype(np.float32)
    assert form_of(few).name == "grid"


def test_runs_that_repeat_by_chance_are_no_words() -> None:
    rng = np.random.default_rng(3)
    levels = rng.geometric(0.45, (60, 300)) * rng.choice((-1, 1), (60, 300))
    few = (levels * (rng.random((60, 300)) < 0.2) * np.float32(0.0131)).astype(np.float32)
    assert few_blocks(few) is not None
    for moves_levels, name in ((True, "levels"), (False, "grid")):
        assert form_of(few, moves_levels=moves_levels).name == name
    values = np.append(0, rng.standard_normal(14)).astype(np.float32)
    palette = values[rng.integers(1, 15, (100, 300)) * (rng.random((100, 300)) < 0.04)]
    assert few_blocks(palette) is not None
    after = trained(form_of(palette), by=0.01)
    assert len(np.unique(after)) == len(values)


@pytest.mark.parametrize(
    ("name", "block"),
    [
        ("one step", (24, 16)),
        ("a step for each row", (1, 16)),
        ("a step for each column", (24, 1)),
        ("signs", (1, 36)),
    ],
)
def test_integers_stay_on_their_grid(name: str, block: tuple[int, int]) -> None:
    before = FORMS[name][0]()
    grids = [find_grid(a, *block) for a in (before, trained(form_of(before)))]
    assert grids[0] is not None
    assert grids[1] is not None
    np.testing.assert_array_equal(grids[0].levels, grids[1].levels)
    assert not np.array_equal(grids[0].scales, grids[1].scales)


def test_a_step_of_few_bits_stays_one() -> None:
    before = (RNG.integers(-900, 901, (24, 16)) * (1365 / 2**17)).astype(np.float32)
    grid = find_grid(trained(form_of(before)), 24, 16)
    assert grid is not None
    mantissa, _ = np.frexp(float(grid.scales[0]))
    assert mantissa * 2**12 == round(mantissa * 2**12)


def test_codewords_stay_as_many() -> None:
    after = trained(form_of(_codewords()))
    assert len(np.unique(after.reshape(-1, 9), axis=0)) <= 6


def test_offsets_on_a_grid_go_from_level_to_level() -> None:
    step = np.float32(0.0078125)
    before = (RNG.integers(-200, 201, 40) * step).astype(np.float32)
    form = form_of(before)
    assert form.name == "levels"
    after = trained(form)
    assert not np.array_equal(after, before)
    assert (after / step == np.rint(after / step)).all()


@pytest.mark.parametrize(
    ("name", "block"),
    [("one step", (24, 16)), ("a step for each row", (1, 16)), ("a step for each column", (24, 1))],
)
def test_integers_and_steps_move_together(name: str, block: tuple[int, int]) -> None:
    before = FORMS[name][0]()
    before[3, 4] = 0
    form = form_of(before, moves_levels=True)
    assert form.name == "levels"
    after = trained(form)
    grids = [find_grid(a, *block) for a in (before, after)]
    assert grids[0] is not None
    assert grids[1] is not None
    assert not np.array_equal(grids[0].levels, grids[1].levels)
    assert not np.array_equal(grids[0].scales, grids[1].scales)
    assert np.abs(grids[1].levels).max() <= np.abs(grids[0].levels).max()
    np.testing.assert_array_equal(after[before == 0], 0)


def _planes(count: int, *, columns: bool = False, rows: int = 40) -> Array:
    """Make sums of planes of signs, with numbers of 11 bits; columns have numbers of 5."""
    rng = np.random.default_rng(count)
    numbers = 2.0 ** -np.arange(count) * (1 + rng.integers(0, 1024, (rows, count)) / 1024) / 8
    found = np.einsum("rp,rpc->rc", numbers, np.sign(rng.standard_normal((rows, count, 90))))
    if columns:
        found *= np.array([0.5, 1.0, 23 / 16, 2.0])[rng.integers(0, 4, 90)]
    made: Array = found.astype(np.float32)
    return made


def _ternary() -> Array:
    found: Array = np.where(RNG.random((40, 90)) < 0.6, _planes(1), np.float32(0))
    return found


@pytest.mark.parametrize(
    "build",
    [
        lambda: _planes(1, columns=True),
        lambda: _planes(2),
        lambda: _planes(2, columns=True),
        lambda: _planes(3),
        lambda: _planes(2, rows=10),
        lambda: np.ascontiguousarray(_planes(2).T),
        _ternary,
    ],
)
@pytest.mark.parametrize("moves", [False, True])
def test_sums_of_signs_stay_sums_of_signs(build: Callable[[], Array], moves: bool) -> None:
    before = build()
    form = form_of(before, moves_levels=moves)
    assert form.name == "signs"
    np.testing.assert_array_equal(form.exact(), before)
    np.testing.assert_allclose(form.value().detach().numpy(), before, rtol=1e-6)
    after = trained(form, 0.8 if moves else 0.1)
    rows = [a if find_planes(a) is not None else a.T for a in (before, after)]
    planes = [find_planes(a) for a in rows]
    assert planes[0] is not None
    assert planes[1] is not None
    assert len(planes[0][1]) == len(planes[1][1])
    assert not np.array_equal(before, after)
    np.testing.assert_array_equal(after == 0, before == 0)
    pairs = [a[:, :, None] == a[:, None] for a in rows]  # which weights are the same
    if (planes[0][2] == 1).all():  # some are the same by chance, and with others many
        assert (np.mean(pairs[0] == pairs[1]) > 0.99) != moves
    made = form.value().detach().numpy()
    off = made - after if rows[1] is after else (made - after).T
    np.testing.assert_allclose(off / planes[1][2], 0, atol=5e-4)


@pytest.mark.parametrize("turned", [False, True])
def test_signs_begin_at_what_weights_were(turned: bool) -> None:
    before = _planes(2, columns=True)
    found = find_planes(before)
    assert found is not None
    scales, _, columns = found
    was = _draw(*before.shape)
    form = form_of(np.ascontiguousarray(before.T) if turned else before, moves_levels=True)
    assert isinstance(form, Signs)
    assert form.begin_at(np.ascontiguousarray(was.T) if turned else was)
    first = np.where(was < 0, -1, 1) * scales[:, :1]
    second = np.where(was / columns - first < 0, -1, 1) * scales[:, 1:]
    made = form.exact()
    np.testing.assert_allclose(made.T if turned else made, (first + second) * columns, rtol=1e-6)
    latent = form.leaves[1].tensor.detach().numpy()[0] * columns
    np.testing.assert_allclose(latent, was, rtol=1e-6)


def _kernels() -> Array:
    """Make kernels of signs, each a different product of numbers of rows and columns."""
    rng = np.random.default_rng(3)
    rows, columns = (
        1 + rng.integers(0, most, count) / most for count, most in ((20, 1024), (25, 128))
    )
    columns[7] = 1
    signs = np.sign(rng.standard_normal((20, 25)))
    return (signs * rows[:, None] * columns).astype(np.float32).reshape(20, 1, 5, 5)


def test_signs_are_seen_where_all_products_differ() -> None:
    before = _kernels()
    assert len(np.unique(np.abs(before))) > 0.8 * before.size
    form = form_of(before, moves_levels=True)
    assert isinstance(form, Signs)
    again = form_of(trained(form), moves_levels=True)
    assert isinstance(again, Signs)
    np.testing.assert_array_equal(again.exact(), form.exact())


def test_numbers_of_columns_are_trained_and_one_keeps_its_own() -> None:
    before = _planes(1, columns=True)
    found = find_planes(before)
    assert found is not None
    form = form_of(before)
    form.leaves[1].tensor.requires_grad_(False).add_(form.leaves[1].held(torch.full((90,), 0.3)))
    after = find_planes(form.exact())
    assert after is not None
    ratios = np.sort(after[2] / found[2] / np.median(after[2] / found[2]))
    np.testing.assert_allclose(ratios[0], np.exp(-0.3), rtol=0.02)
    np.testing.assert_allclose(ratios[1:], 1, rtol=0.02)


def test_few_columns_get_numbers_of_their_own() -> None:
    forms = {n: form_of(_planes(1, rows=n), moves_levels=False) for n in (40, 60_000)}
    train_columns(forms.values())
    assert [len(form.leaves) for form in forms.values()] == [2, 2]
    alone = form_of(_planes(1), moves_levels=False)
    train_columns([alone])
    assert len(alone.leaves) == 1
    assert len(form_of(_planes(1, columns=True)).leaves) == 2
    assert len(form_of(_planes(2, columns=True)).leaves) == 1  # archives would not know them


def test_signs_of_kernels_begin_as_they_are_and_move_slowly() -> None:
    before = _kernels()
    form = form_of(before, moves_levels=True)
    assert isinstance(form, Signs)
    was = _draw(*before.shape)
    assert not form.begin_at(was)
    np.testing.assert_array_equal(form.exact(), before)
    latent = form.leaves[1]
    assert latent.pace < 0.1
    assert (
        np.corrcoef(np.abs(was).ravel(), latent.tensor.detach().abs().numpy().ravel())[0, 1] > 0.8
    )
    matrix = form_of(np.ascontiguousarray(before.reshape(20, 25)), moves_levels=True)
    assert matrix.leaves[1].pace == 1
    b = Builder(0)
    b.op("Conv", b.input("x", [2, 1, 8, 8]), b.const(before), to="y")
    b.output("y", [2, 20, 4, 4])
    batch = {"x": _draw(2, 1, 8, 8)}, {"y": _draw(2, 20, 4, 4)}
    student = TrainedModel(b.model(), b.model(), batch, Settings(), ())
    _, rates = student.optimizer()
    assert rates[1] == latent.pace * matrix.leaves[1].size


def test_signs_that_stay_begin_nowhere_else() -> None:
    before = _planes(1)
    form = form_of(before, moves_levels=False)
    assert isinstance(form, Signs)
    assert not form.begin_at(_draw(*before.shape))
    np.testing.assert_array_equal(form.exact(), before)


@pytest.mark.parametrize("share", [0.85, 0.95, 0.99])
def test_zeros_alone_share_nothing(share: float) -> None:
    weight = np.where(
        np.random.default_rng(3).random((64, 96)) < share, np.float32(0), _draw(64, 96)
    )
    form = form_of(weight)
    assert form.name == "free"
    assert form.count == np.count_nonzero(weight)


def _hashed() -> Array:
    made: Array = np.take(_draw(6000), RNG.integers(0, 6000, (200, 128))) * np.sign(_draw(200, 128))
    return made


def _circulant() -> Array:
    rows, columns = np.arange(64)[:, None] % 4, np.arange(96)[None] % 4
    block = np.arange(64)[:, None] // 4 * 24 + np.arange(96)[None] // 4
    made: Array = np.take(_draw(16 * 24 * 4), block * 4 + (columns - rows) % 4)
    return made


@pytest.mark.parametrize("build", [_hashed, _circulant])
def test_numbers_that_places_share_stay_tied(build: Callable[[], Array]) -> None:
    before = build()
    form = form_of(before)
    assert form.name == "tied"
    assert form.count == len(np.unique(np.abs(before)))
    np.testing.assert_array_equal(form.exact(), before)
    after = trained(form, 0.1)
    assert not np.array_equal(after, before)
    _, one = np.unique(np.abs(before), return_inverse=True)
    _, other = np.unique(np.abs(after), return_inverse=True)
    assert one.max() == other.max()
    pairs = np.unique(np.stack([one.reshape(-1), other.reshape(-1)]), axis=1)
    assert pairs.shape[1] == one.max() + 1  # the same places share


@pytest.mark.parametrize("kind", [np.float16, DType.BFLOAT16.numpy])
def test_hashed_numbers_stay_so_even_if_many_are_equal(kind: Any) -> None:
    """Numbers of few bits coincide, the more the more there are: the rule tells them apart."""
    index, negated = buckets_of(160 * 300, 6144)
    numbers = _draw(6144).astype(kind).astype(np.float32)
    before = np.where(negated, -numbers[index], numbers[index]).reshape(160, 300)
    assert len(np.unique(np.abs(before))) < 0.8 * 6144
    form = form_of(before)
    assert form.name == "tied"
    assert form.count == np.count_nonzero(numbers[np.unique(index)])
    np.testing.assert_array_equal(form.exact(), before)
    found = find_hashed(trained(form).reshape(-1))
    assert found is not None
    assert found[1] == 6144


def test_circulant_blocks_stay_so_even_if_many_are_equal() -> None:
    index = diagonals(160, 300, 4)
    numbers = _draw(12000).astype(np.float16).astype(np.float32)
    form = form_of(numbers[index])
    assert form.name == "tied"
    assert form.count == 12000
    np.testing.assert_array_equal(form.exact(), numbers[index])
    found = find_circulant(trained(form))
    assert found is not None
    assert found[1] == 4


@pytest.mark.parametrize("shape", [(64, 96), (30, 20, 3, 3), (50, 70)])
def test_products_of_diagonals_stay_products_of_diagonals(shape: tuple[int, ...]) -> None:
    start = made(shape[0], int(np.prod(shape[1:])), 8, zeros=0.05)
    before = start.matrix.reshape(shape)
    form = form_of(before)
    assert form.name == "fastfood"
    assert form.count <= start.levels.size + shape[0] + start.columns.size
    np.testing.assert_array_equal(form.exact(), before)
    np.testing.assert_array_equal(form.value().detach().numpy(), before)
    after = trained(form, 0.3)
    found = find_fastfood(after.reshape(shape[0], -1))
    assert found is not None
    assert found.size == 8
    for one, other in ((found.rows, start.rows), (found.columns, start.columns)):
        np.testing.assert_array_equal(one == 0, other == 0)
    assert not np.array_equal(found.levels, start.levels)
    off = form.value().detach().numpy() - after  # levels that no longer fit are made smaller
    assert np.sqrt(np.square(off).mean() / np.square(after).mean()) < 0.05


@pytest.mark.parametrize("kind", [np.float16, DType.BFLOAT16.numpy])
def test_numbers_of_few_bits_are_free(kind: Any) -> None:
    weight = _draw(400, 300).astype(kind).astype(np.float32)
    assert len(np.unique(np.abs(weight))) * 8 < weight.size
    assert form_of(weight).name == "free"


def test_what_repeats_otherwise_is_left_alone() -> None:
    often = np.concatenate([np.arange(3000), np.repeat(np.arange(20), 1000)])
    weight = np.take(_draw(3000), RNG.permutation(np.resize(often, 200 * 128))).reshape(200, 128)
    assert structure.form_of(weight) is None


@pytest.mark.parametrize("build", [_palette, _codewords])
def test_elements_choose_anew(build: Callable[[], Array]) -> None:
    before = build()
    form = form_of(before, moves_levels=True)
    after = trained(form, 0.8)
    form.value()  # looks who is nearest
    again = form.exact()
    words = len(np.unique(before.reshape(-1, 9), axis=0))
    assert len(np.unique(again.reshape(-1, 9), axis=0)) <= words or build is _palette
    assert len(np.unique(again)) <= len(np.unique(before))
    assert not np.array_equal(again, after)  # choices differ, and not the values alone
    if build is _palette:
        np.testing.assert_array_equal(again == 0, before == 0)


def test_signs_without_zeros_stay_signs() -> None:
    before = _signs()
    after = trained(form_of(before, moves_levels=True), 0.8)
    assert (after != 0).all()
    assert (np.sign(after) != np.sign(before)).any()
    sizes = np.abs(after)
    np.testing.assert_array_equal(sizes, np.broadcast_to(sizes[:, :1], sizes.shape))


def test_masked_weights_get_no_gradient() -> None:
    form = form_of(_masked())
    gradient = form.leaves[0].held(torch.ones(24, 16))
    np.testing.assert_array_equal(gradient.numpy() == 0, _masked() == 0)
    assert form.count == np.count_nonzero(_masked())


@pytest.mark.parametrize("turned", [False, True])
def test_sums_of_cosines_keep_few_coefficients(turned: bool) -> None:
    rng = np.random.default_rng(5)
    levels = np.where(rng.random((40, 64)) < 0.2, rng.integers(-9, 10, (40, 64)), 0)
    plane = Plane(8, 8)
    weight = (summed(levels, plane) * 2.0**-14).astype(np.float32)
    before: Array = np.ascontiguousarray(weight.T if turned else weight)
    assert structure.form_of(before) is None
    form = form_of(before, moves_levels=True)
    assert form.name == "cosines"
    assert form.count == np.count_nonzero(levels)
    np.testing.assert_array_equal(form.exact(), before)
    np.testing.assert_allclose(form.value().detach().numpy(), before, atol=1e-6)
    after = trained(form)
    found = find_cosines(after.T if turned else after)
    assert found is not None
    times = 2.0**-14 / found.step
    assert (found.levels != times * levels).any()
    assert not found.levels[levels == 0].any()
    assert np.abs(found.levels).max() <= times * np.abs(levels).max()


@pytest.mark.parametrize("transposed", [0, 1])
def test_weights_over_pictures_are_trained_by_coefficients(transposed: int) -> None:
    b = Builder(2)
    x = b.input("x", ["n", 2, 6, 5])
    h = b.op("Conv", x, b.weight(3, 2, 4, 4), pads=[1, 1, 2, 2])
    flat = b.op("Flatten", h)
    y = b.op("Gemm", flat, b.weight(*((7, 90), (90, 7))[1 - transposed]), transB=transposed)
    b.op("MatMul", y, b.weight(7, 4), to="y")
    b.output("y", ["n", 4])
    model = b.model()
    onnx_api.infer_types(model)
    found = [plane_of(v) for v in model.graph.initializers.values()]
    assert found == [(Plane(4, 4), False), (Plane(6, 5), not transposed), None]
    for value, seen in zip(model.graph.initializers.values(), found, strict=True):
        if seen is None or value.data is None:
            continue
        form = FreeCosines(value.data, seen[0], turned=seen[1])
        np.testing.assert_allclose(form.exact(), value.data, atol=2e-6)
        constant = form.leaf.detach().numpy().reshape(-1, seen[0].places)[:, 0]
        rows = value.data.T if seen[1] else value.data
        means = rows.reshape(-1, seen[0].places).sum(1)
        assert np.corrcoef(constant, means)[0, 1] > 0.999
        mask = torch.zeros_like(form.leaf, dtype=torch.bool)
        mask[0, 0] = True
        form.keep(mask)
        assert np.count_nonzero(form.exact()) == seen[0].places  # a mean is the same everywhere
