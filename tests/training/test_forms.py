"""Numbers that are trained, and what holds them."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install ocompress[tune]")

from ocompress.archive.grids import Grid
from ocompress.training import course
from ocompress.training.moving_forms import MovingLevels, Signs
from ocompress.training.settling import Settling
from ocompress.training.trained import TrainedModel
from ocompress.training.trained_numbers import TrainedNumbers


def test_magnitudes_sum_up_to_no_more_than_they_did() -> None:
    numbers = TrainedNumbers(np.array([3.0, -1.0, 0.0, 2.0], np.float32), bounded=True)
    with torch.no_grad():
        numbers.tensor.copy_(torch.tensor([4.5, -2.5, 0.0, 2.0]))
    numbers.bound()
    np.testing.assert_allclose(numbers.tensor.detach(), [3.5, -1.5, 0.0, 1.0])
    numbers.bound()
    np.testing.assert_allclose(numbers.tensor.detach(), [3.5, -1.5, 0.0, 1.0])
    free = TrainedNumbers(np.ones(2, np.float32))
    with torch.no_grad():
        free.tensor.mul_(7)
    free.bound()
    np.testing.assert_array_equal(free.tensor.detach(), [7.0, 7.0])


def test_levels_that_are_trained_do_not_spread() -> None:
    """Or the archive would grow: levels far from zero take more bits."""
    levels = np.random.default_rng(0).integers(-4, 5, (8, 32)).astype(np.int32)
    form = MovingLevels(Grid(np.full(8, 0.1, np.float32), levels, 1, 32), (8, 32), None)
    leaf = form.leaves[1]
    with torch.no_grad():
        leaf.tensor.mul_(1.5)
    leaf.bound()
    assert np.abs(form.exact() / 0.1).sum() <= 1.05 * np.abs(levels).sum()


def test_levels_are_rounded_one_after_the_other_what_matters_most_first() -> None:
    rng = np.random.default_rng(1)
    forms = []
    for rows in (6, 8):
        levels = rng.integers(-4, 5, (rows, 32)).astype(np.int32)
        grid = Grid(np.full(rows, 0.1, np.float32), levels, 1, 32)
        forms.append(MovingLevels(grid, levels.shape, None))
    leaves = [form.unrounded for form in forms]
    numbers = [leaf.tensor for leaf in leaves]
    optimizer = torch.optim.Adam(numbers)
    settling = Settling(leaves)
    counts = [len(tensor) for tensor in numbers]
    matters = torch.from_numpy(rng.random(sum(counts)).astype(np.float32))
    for leaf, part in zip(leaves, matters.split(counts), strict=True):
        tensor = leaf.tensor
        felt = part.reshape(tensor.shape)
        optimizer.state[tensor] = {"exp_avg": torch.ones_like(tensor), "exp_avg_sq": felt}
        with torch.no_grad():
            tensor += 0.3
    before = torch.zeros(sum(counts), dtype=torch.bool)
    settling.step(50, 0.0, optimizer)
    assert not settling.is_whole
    for done, share in ((100, 0.3), (101, 0.5), (150, 0.6), (151, 0.9)):
        settling.step(done, share, optimizer)
        whole = [leaf.settled for leaf in leaves if leaf.settled is not None]
        now = torch.cat(whole)
        assert not (before & ~now).any()
        if done == 101:  # it is not time yet
            assert torch.equal(now, before)
        if now.any() and not now.all():
            assert matters[now].min() > matters[~now].max()
        before = now
        for form, settled in zip(forms, whole, strict=True):
            leaf = form.unrounded
            value = form.value().detach() / 0.1
            made = value[value != 0]
            assert torch.equal(torch.isclose(made, made.round(), atol=1e-4), settled)
            assert not leaf.held(torch.ones(settled.shape))[settled].any()
            assert torch.equal(optimizer.state[leaf.tensor]["exp_avg"] == 0, settled)
    assert before.all()
    assert settling.is_whole


def test_signs_are_settled_in_each_weight_by_itself_and_are_whole_before() -> None:
    rng = np.random.default_rng(3)
    forms = []
    for rows in (6, 8):
        signs = rng.choice([-1, 1], (1, rows, 16))
        scales, columns = np.ones((rows, 1)), np.ones(16)
        forms.append(Signs(scales, signs, columns, (rows, 16), turned=False, moves=True))
    leaves = [form.wavering for form in forms]
    assert all(leaf is not None for leaf in leaves)
    known = [leaf for leaf in leaves if leaf is not None]
    optimizer = torch.optim.Adam([leaf.tensor for leaf in known])
    for leaf, more in zip(known, (1.0, 2.0), strict=True):  # all of the second matter more
        felt = more + torch.from_numpy(rng.random(leaf.tensor.shape).astype(np.float32))
        optimizer.state[leaf.tensor] = {"exp_avg": felt.clone(), "exp_avg_sq": felt}
    settling = Settling([], known)
    assert settling.is_whole  # so that held-out samples are looked at
    settling.step(50, 0.5, optimizer)
    for form, leaf in zip(forms, known, strict=True):
        settled = leaf.settled
        assert settled is not None
        assert settled.float().mean() == pytest.approx(0.53, abs=0.02)
        felt = optimizer.state[leaf.tensor]["exp_avg_sq"]
        assert felt[settled].min() > felt[~settled].max()
        moved = leaf.held(torch.autograd.grad(form.value().sum(), leaf.tensor)[0])
        assert torch.equal(moved == 0, settled)
    settling.step(100, 0.95, optimizer)
    assert all(bool(leaf.settled.all()) for leaf in known if leaf.settled is not None)


def test_numbers_that_are_rounded_stay_while_others_are_bounded() -> None:
    numbers = TrainedNumbers(np.array([3.0, -1.0, 0.0, 2.0], np.float32), bounded=True)
    numbers.begin_to_settle()
    numbers.settle(torch.tensor([True, False, True, False]))
    with torch.no_grad():
        numbers.tensor.copy_(torch.tensor([3.0, -2.0, 0.0, 3.0]))
    numbers.bound()
    np.testing.assert_allclose(numbers.tensor.detach(), [3.0, -1.0, 0.0, 2.0])


@pytest.mark.parametrize(("seconds", "parts"), [(0.0, (0.2, 0.2, 0.2)), (10.0, (0.2, 0.5, 1.0))])
def test_a_limit_of_time_shortens_the_course(
    seconds: float, parts: tuple[float, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]
    monkeypatch.setattr(course, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    student: Any = SimpleNamespace(optimizer=lambda: (None, []))
    found = course.Course(student, 100, 0.01, seconds)
    found.done = 20
    for now, part in zip((1.0, 5.0, 20.0), parts, strict=True):
        clock[0] = now
        assert found.part == pytest.approx(part)


def test_each_leaf_has_its_rate_and_costs_no_look_at_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(2)
    starts = [rng.standard_normal(size).astype(np.float32) for size in (3, 4, 5)]

    def moved(make: Callable[[list[TrainedNumbers]], Any]) -> list[Any]:
        leaves = [TrainedNumbers(start) for start in starts]
        optimizer = make(leaves)
        for leaf, group, rate in zip(leaves, optimizer.param_groups, (0.1, 0.2, 0.0), strict=True):
            group["lr"] = rate
            leaf.tensor.grad = torch.ones_like(leaf.tensor)
        for _ in range(3):
            optimizer.step()
        return [leaf.tensor.detach() for leaf in leaves]

    def plain(leaves: list[TrainedNumbers]) -> Any:
        groups = [{"params": [leaf.tensor], "lr": 0.0} for leaf in leaves]
        return torch.optim.Adam(groups, eps=1e-10)

    def ours(leaves: list[TrainedNumbers]) -> Any:
        student: Any = SimpleNamespace(leaves=leaves)
        return TrainedModel.optimizer(student)[0]

    wanted = moved(plain)
    added: list[int] = []
    add = torch.optim.Optimizer.add_param_group

    def counted(self: Any, group: dict[str, Any]) -> None:
        added.append(1)
        add(self, group)

    monkeypatch.setattr(torch.optim.Optimizer, "add_param_group", counted)
    for mine, theirs in zip(moved(ours), wanted, strict=True):
        assert torch.equal(mine, theirs)
    assert len(added) == 1
