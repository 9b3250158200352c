"""Training of a model to do what another one does, without labels."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from ocompress.io.dataset import Dataset
from ocompress.io.holdout import hold_out
from ocompress.ir import Model
from ocompress.runtime import Session, host_cores
from ocompress.training.biases import integer_biases, rewritten
from ocompress.training.divergence import Divergence, divergences
from ocompress.training.forms import TiedForm
from ocompress.training.lessons import Batch, floats_of, learn, mixed
from ocompress.training.network import Network
from ocompress.training.settings import Settings, Tuned
from ocompress.training.structure import form_of

_SHARE = 0.1
"""Part of the samples that says when to stop."""
_STEPS = 2000
"""Steps where nobody says how many epochs, and how many of those there are."""
_LEAST_EPOCHS, _MOST_EPOCHS = 4, 100
_BATCHES = 8
"""Batches of an epoch, at least; few samples come in smaller ones."""
_SMALL_BATCH = 8
_CHECKS = 25
"""How often the held-out samples are looked at, at most."""
_ASTRAY = 2.0
"""Times the best divergence from which on training goes back to it, at a lower rate."""
_SLOWER = 0.3
_NOTHING = 1e-7
"""Divergence of a model that is its teacher, but for rounding."""
_OFTEN = 10
"""Epochs beyond which samples are mixed. LeNet-300-100 with 5 % of its weights, divergence on
held-out samples without and with mixing: 0.0541 and 0.0477 (740 samples, 100 epochs), 0.0474 and
0.0424 (9,000, 20), but 0.0477 and 0.0520 (54,000, 5)."""
_CALM = {"session.intra_op.allow_spinning": "0"}
_WARM = 0.05
"""Part of the steps in which the rate rises."""
_SMALLEST = 0.1
"""Weights count as so large at least, in proportion to the other weights, for the rate."""

Report = Callable[[str, int, int], None]


def distill(
    model: Model,
    teacher: Model,
    data: Dataset,
    settings: Settings,
    report: Report,
    excluded: Collection[str] = (),
) -> Tuned:
    """Train the weights of a model so that its outputs come near those of another.

    Args:
        model: The student after `canonicalize`; not changed.
        teacher: A model of the same inputs and outputs.
        data: Inputs; labels are not read.
        settings: How.
        report: Told how far it is.
        excluded: Initializers that keep their values.

    Raises:
        RuntimeFailureError: If ONNX Runtime cannot run one of the models.
    """
    with _threads():
        return _Training(model, teacher, data, settings, report, excluded).run()


class _Training:
    def __init__(
        self,
        model: Model,
        teacher: Model,
        data: Dataset,
        settings: Settings,
        report: Report,
        excluded: Collection[str],
    ) -> None:
        self._model, self._settings, self._report = model, settings, report
        self._teacher = session = Session(teacher, threads=0, config=_CALM)
        split = hold_out(data, share=_SHARE, seed=settings.seed)
        self._fit, self._held = (
            learn(teacher, part, session) for part in (split.fit, split.held_out)
        )
        first = next(self._held.batches(settings.batch, None))
        self._losses: dict[str, Divergence] = divergences(teacher, first[1], settings.temperature)
        self._checks = divergences(teacher, first[1], 1.0)
        self._network = Network(model, first[0])
        arrays = {v.name: v.data for v in model.graph.initializers.values()}
        biases = integer_biases(model)
        self._biases = [b for b in biases if b.is_free]
        tied = {name for b in biases if not b.is_free for name in (b.of_inputs, b.of_weight)}
        found = {
            name: form_of(
                np.asarray(arrays[name]),
                self._network.roles[name],
                moves_levels=settings.moves_levels,
            )
            for name in self._network.trained
            if name not in excluded and name not in tied
        }
        self._forms: dict[str, TiedForm] = {n: f for n, f in found.items() if f is not None}
        self._unknown = tuple(n for n, f in found.items() if f is None)
        self._rest = {
            name: value
            for name, value in self._network.initial().items()
            if name not in self._forms
        }
        few = max(self._fit.samples // _BATCHES, _SMALL_BATCH)
        self._batch = min(settings.batch, few)

    def run(self) -> Tuned:
        """Train, and return the best that was seen."""
        steps_each = self._fit.count(self._batch)
        epochs = self._settings.epochs
        if epochs is None:
            epochs = min(max(_STEPS // steps_each, _LEAST_EPOCHS), _MOST_EPOCHS)
        told = Tuned(
            forms={n: (f.name, f.value().numel(), f.count) for n, f in self._forms.items()},
            epochs=epochs,
            samples=(self._fit.samples, self._held.samples),
            left_out=self._fit.left_out + self._held.left_out,
            stuck=self._network.stuck,
            unknown=self._unknown,
        )
        if not self._forms or not self._losses or not epochs:
            return told
        return self._train(told, steps_each, epochs)

    def _train(self, told: Tuned, steps_each: int, epochs: int) -> Tuned:
        before = best = self.held_out()
        if before <= _NOTHING:
            return replace(told, before=before, after=before)
        kept: dict[str, np.ndarray] = {}
        leaves = self._leaves()
        optimizer, sizes = self._optimizer()
        rng = np.random.default_rng(self._settings.seed)
        total, done, begun = steps_each * epochs, 0, time.monotonic()
        every, rate = max(1, -(-epochs // _CHECKS)), self._settings.rate
        loss, mixes = math.nan, self._mixes(epochs)
        for epoch in range(1, epochs + 1):
            for lesson in self._fit.batches(self._batch, rng):
                for group, size in zip(optimizer.param_groups, sizes, strict=True):
                    group["lr"] = rate * size * _schedule(done / total)
                batch = self._mixed(lesson, rng) if mixes else lesson
                loss = self._step(batch, optimizer)
                done += 1
                self._report(_line(loss, best, done / total, begun), done, total)
            late = self._is_late(begun)
            if epoch % every and epoch != epochs and not late:
                continue
            found = self.held_out()
            if found < best:
                best, leaves = found, self._leaves()
                kept = {n: f.exact() for n, f in self._forms.items()}
            elif not found < _ASTRAY * best:  # not a number, perhaps
                rate *= _SLOWER
                optimizer = self._restart(leaves)
            if late:
                break
        kept |= rewritten(self._model, self._biases, kept)
        return replace(told, values=kept, before=before, after=best, steps=done)

    def _leaves(self) -> list[torch.Tensor]:
        return [form.leaf.detach().clone() for form in self._forms.values()]

    def _restart(self, leaves: list[torch.Tensor]) -> Any:
        """Go back to the best that was seen; return an optimizer that knows nothing."""
        with torch.no_grad():
            for form, leaf in zip(self._forms.values(), leaves, strict=True):
                form.leaf.copy_(leaf)
        return self._optimizer()[0]

    def _mixes(self, epochs: int) -> bool:
        wanted = self._settings.mixup
        return self._fit.can_be_mixed and (epochs > _OFTEN if wanted is None else wanted)

    def _mixed(self, batch: Batch, rng: np.random.Generator) -> Batch:
        feeds = mixed(batch[0], rng)
        return feeds, floats_of(self._teacher.run(feeds))

    def _is_late(self, begun: float) -> bool:
        limit = self._settings.seconds
        return bool(limit) and time.monotonic() - begun > limit

    def _optimizer(self) -> tuple[Any, list[float]]:
        sizes = [f.size for f in self._forms.values()]
        least = _SMALLEST * float(np.median(sizes))
        sizes = [max(size, least) for size in sizes]
        groups = [{"params": [f.leaf], "lr": 0.0} for f in self._forms.values()]
        return torch.optim.Adam(groups, eps=1e-10), sizes

    def _step(self, batch: Batch, optimizer: Any) -> float:
        values = {name: form.value() for name, form in self._forms.items()}
        loss = self._loss(batch, {**self._rest, **values}, self._losses)
        leaves = [form.leaf for form in self._forms.values()]
        gradients = torch.autograd.grad(loss, leaves, allow_unused=True)
        for form, gradient in zip(self._forms.values(), gradients, strict=True):
            form.leaf.grad = None if gradient is None else form.held(gradient)
        optimizer.step()
        return float(loss.detach())

    def _loss(
        self, batch: Batch, values: Mapping[str, Any], losses: Mapping[str, Divergence]
    ) -> Any:
        feeds, wanted = batch
        made = self._network.run(feeds, values)
        parts = [loss(made[name], torch.from_numpy(wanted[name])) for name, loss in losses.items()]
        return torch.stack(parts).sum()

    def held_out(self) -> float:
        """Return the divergence on held-out samples of what would be written."""
        values = {name: torch.from_numpy(form.exact()) for name, form in self._forms.items()}
        total = weight = 0.0
        with torch.no_grad():
            for batch in self._held.batches(max(self._batch, self._settings.batch), None):
                rows = max(len(a) if a.ndim else 1 for a in batch[0].values())
                total += rows * float(self._loss(batch, {**self._rest, **values}, self._checks))
                weight += rows
        return total / max(weight, 1.0)


def _schedule(part: float) -> float:
    """Return the share of the highest rate: it rises shortly, then falls as a cosine does."""
    if part < _WARM:
        return part / _WARM
    return 0.5 * (1 + math.cos(math.pi * (part - _WARM) / (1 - _WARM)))


def _line(loss: float, best: float, part: float, begun: float) -> str:
    left = (time.monotonic() - begun) * (1 / max(part, 1e-9) - 1)
    clock = f"{int(left) // 60}:{int(left) % 60:02d}"
    return f"tune: loss {loss:.3g}, held-out {best:.3g}, {clock} left"


@contextlib.contextmanager
def _threads() -> Iterator[None]:
    """Let PyTorch use the cores that this process may use, fewer if its environment says so."""
    before = torch.get_num_threads()
    torch.set_num_threads(min(host_cores(), before))
    try:
        yield
    finally:
        torch.set_num_threads(before)
