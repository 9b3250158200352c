"""A model whose weights are trained, each in its form."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from ocompress.analysis.gradients.concrete import outputs_of_varying_length
from ocompress.ir import Model
from ocompress.training.biases import integer_biases, rewritten
from ocompress.training.divergence import Divergence, divergences
from ocompress.training.forms import Free, TiedForm
from ocompress.training.labels import LabelledOutput
from ocompress.training.lessons import LABELS, Batch, Lessons
from ocompress.training.moving_forms import Signs, train_columns
from ocompress.training.network import Network
from ocompress.training.picture_form import FreeCosines, plane_of
from ocompress.training.settings import Settings
from ocompress.training.structure import form_of
from ocompress.training.trained_numbers import TrainedNumbers

_SMALLEST = 0.1
"""Weights count as so large at least, in proportion to the other weights, for the rate."""
_THINNED = ("Conv", "ConvTranspose", "Gemm", "MatMul")


class TrainedModel:
    """A student, what of it is trained, and how far it is from its teacher.

    Attributes:
        network: What computes it.
        forms: Weights that are trained, by name.
        unknown: Weights whose values have a form that would not be kept.
        unlearned: Outputs that count for nothing, with a code that says why.
        losses: What is made small, by output.
    """

    def __init__(
        self,
        model: Model,
        teacher: Model,
        batch: Batch,
        settings: Settings,
        excluded: Collection[str],
        labelled: LabelledOutput | None = None,
        infinite: Collection[str] = (),
    ) -> None:
        """Find out what can be trained.

        Args:
            model: The student after `canonicalize`; not changed.
            teacher: A model of the same inputs and outputs.
            batch: Some inputs, and the teacher's outputs.
            settings: How it is trained.
            excluded: Initializers that keep their values.
            labelled: The output that labels belong to, where they count.
            infinite: Outputs that are not finite; they count for nothing.
        """
        self._model, self._labelled, self._alpha = model, labelled, settings.alpha
        self.unlearned = dict.fromkeys(sorted(infinite), "not-finite")
        varying = outputs_of_varying_length(teacher, batch[0])
        self.unlearned |= dict.fromkeys(varying, "lengths-vary")
        left_out = {LABELS, *self.unlearned}
        outputs = {name: array for name, array in batch[1].items() if name not in left_out}
        self.losses: dict[str, Divergence] = divergences(teacher, outputs, settings.temperature)
        self._checks = divergences(teacher, outputs, 1.0)
        others = [v.name for v in teacher.graph.outputs if v.name not in self.losses]
        self.unlearned = dict.fromkeys(others, "not-floats") | self.unlearned
        self.network = Network(model, batch[0])
        biases = integer_biases(model)
        self._biases = [b for b in biases if b.is_free]
        tied = {name for b in biases if not b.is_free for name in (b.of_inputs, b.of_weight)}
        found = {
            name: form_of(
                np.asarray(model.graph.initializers[name].data),
                self.network.roles[name],
                moves_levels=settings.moves_levels,
            )
            for name in self.network.trained
            if name not in excluded and name not in tied
        }
        weights = model.graph.initializers
        for name in [n for n in found if (held := weights[n].packed) is not None and held.is_final]:
            found[name] = None
        self.forms: dict[str, TiedForm] = {n: f for n, f in found.items() if f is not None}
        self.unknown = tuple(n for n, f in found.items() if f is None)
        if settings.cosines:
            self._look_at_pictures()
        train_columns(self.forms.values())
        initial = self.network.initial().items()
        self._rest = {name: value for name, value in initial if name not in self.forms}

    def _look_at_pictures(self) -> None:
        """Train dense weights over pictures by their coefficients."""
        for name, form in self.forms.items():
            value = self._model.graph.initializers[name]
            seen = plane_of(value)
            if seen is not None and type(form) is Free and form.leaves[0].mask is None:
                self.forms[name] = FreeCosines(form.exact(), seen[0], turned=seen[1])

    def begin_at(self, earlier: Sequence[Model]) -> bool:
        """Start signs from what weights were in the last model in which they were not signs.

        Args:
            earlier: Models that the student was made from, the oldest first.

        Returns:
            Whether any do.
        """
        begun = False
        for name, form in self.forms.items():
            if isinstance(form, Signs):
                shape = form.value().shape
                known = (model.graph.initializers.get(name) for model in reversed(earlier))
                arrays = (v.data for v in known if v is not None and v.data is not None)
                same = (a.astype(np.float32) for a in arrays if a.shape == shape)
                found = next((a for a in same if not isinstance(form_of(a), Signs)), None)
                if found is not None and np.isfinite(found).all():
                    begun |= form.begin_at(found)
        return begun

    @property
    def leaves(self) -> list[TrainedNumbers]:
        """All that is trained."""
        return [leaf for form in self.forms.values() for leaf in form.leaves]

    def unrounded(self) -> list[TrainedNumbers]:
        """Return the numbers that levels are rounded of."""
        found = (form.unrounded for form in self.forms.values())
        return [leaf for leaf in found if leaf is not None]

    def wavering(self) -> list[TrainedNumbers]:
        """Return the numbers that signs are of."""
        found = (form.wavering for form in self.forms.values())
        return [leaf for leaf in found if leaf is not None]

    def thinned(self) -> dict[str, Free]:
        """Return the matrices and kernels of layers, whose elements may become zero."""
        found = {}
        for name, form in self.forms.items():
            value = self._model.graph.initializers[name]
            layers = all(node.is_op(*_THINNED) for node, _ in value.users)
            if isinstance(form, Free) and form.leaf.dim() > 1 and layers:
                found[name] = form
        return found

    def optimizer(self) -> tuple[Any, list[float]]:
        """Return Adam, and what the rate of each leaf is multiplied with."""
        leaves = self.leaves
        least = _SMALLEST * float(np.median([leaf.size for leaf in leaves]))
        adam = torch.optim.Adam([leaf.tensor for leaf in leaves], lr=0.0, eps=1e-10)
        # a group for each leaf, whose rate is its own; `add_param_group` goes through all others
        adam.param_groups[:] = [{**adam.param_groups[0], "params": [x.tensor]} for x in leaves]
        return adam, [x.pace * max(x.size, least) for x in leaves]

    def step(self, batch: Sequence[Batch], optimizer: Any) -> float:
        """Make a step with a batch, in pieces, and return the loss before it."""
        made = {name: form.value() for name, form in self.forms.items()}
        moved = {name: value for name, value in made.items() if value.requires_grad}
        loss, slopes = self._slopes(batch, made, list(moved))
        felt = {name: slope for name, slope in slopes.items() if slope is not None}
        leaves = self.leaves
        gradients = torch.autograd.grad(
            [moved[name] for name in felt],
            [leaf.tensor for leaf in leaves],
            list(felt.values()),
            allow_unused=True,
        )
        for leaf, gradient in zip(leaves, gradients, strict=True):
            leaf.tensor.grad = None if gradient is None else leaf.held(gradient)
        optimizer.step()
        for leaf in leaves:
            leaf.bound()
        return loss

    def _slopes(
        self, batch: Sequence[Batch], made: Mapping[str, Any], moved: Sequence[str]
    ) -> tuple[float, dict[str, Any]]:
        """Return the loss, and its slope by each of some weights; None where it has none.

        One piece is held in memory at a time.
        """
        apart = {name: value.detach().requires_grad_(name in moved) for name, value in made.items()}
        values, loss = self._rest | apart, 0.0
        slopes: dict[str, Any] = dict.fromkeys(moved)
        samples = sum(map(_samples, batch))
        for piece in batch:
            part = self._loss(piece, values, self.losses) * (_samples(piece) / samples)
            found = torch.autograd.grad(part, [apart[name] for name in moved], allow_unused=True)
            loss += float(part.detach())
            for name, slope in zip(moved, found, strict=True):
                if slope is not None:
                    slopes[name] = slope if slopes[name] is None else slopes[name] + slope
        return loss, slopes

    def distance(self, lessons: Lessons, rows: int) -> float:
        """Return the divergence from the teacher of what would be written."""
        exact = {name: torch.from_numpy(form.exact()) for name, form in self.forms.items()}
        values, total, weight = self._rest | exact, 0.0, 0.0
        with torch.no_grad():
            for piece in itertools.chain.from_iterable(lessons.batches(rows, None)):
                count = _samples(piece)
                total += count * float(self._loss(piece, values, self._checks))
                weight += count
        return total / max(weight, 1.0)

    def written(self) -> dict[str, np.ndarray]:
        """Return the weights as they are written, and what follows from them, by name."""
        found = {name: form.exact() for name, form in self.forms.items()}
        return found | rewritten(self._model, self._biases, found)

    def state(self) -> list[np.ndarray]:
        """Return a copy of all numbers that are trained."""
        return [leaf.tensor.detach().contiguous().numpy().copy() for leaf in self.leaves]

    def restore(self, state: list[np.ndarray]) -> None:
        """Go back to numbers that `state` returned."""
        with torch.no_grad():
            for leaf, kept in zip(self.leaves, state, strict=True):
                leaf.tensor.copy_(torch.from_numpy(kept))

    def _loss(
        self, batch: Batch, values: Mapping[str, Any], losses: Mapping[str, Divergence]
    ) -> Any:
        feeds, wanted = batch
        made = self.network.run(feeds, values)
        parts = [loss(made[name], torch.from_numpy(wanted[name])) for name, loss in losses.items()]
        total = torch.stack(parts).sum()
        if self._labelled is None:
            return total
        told = self._labelled.loss(made[self._labelled.name], torch.from_numpy(wanted[LABELS]))
        return (1 - self._alpha) * total + self._alpha * told


def _samples(piece: Batch) -> int:
    """Return how many samples a piece has at most, by its inputs."""
    return max(len(a) if a.ndim else 1 for a in piece[0].values())
