"""What is asked of training, what is kept of it, and what came of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Kept:
    """Where arrays are kept from one run to the next.

    Attributes:
        load: Returns what is kept, None if nothing is.
        save: Keeps other arrays.
    """

    load: Callable[[], tuple[np.ndarray, ...] | None]
    save: Callable[[tuple[np.ndarray, ...]], object]


@dataclass(frozen=True)
class Keeping:
    """What of a training is kept for later runs.

    Attributes:
        state: How far it is.
        fit: What the teacher makes of the samples to fit to.
        held_out: What it makes of those held out.
    """

    state: Kept
    fit: Kept
    held_out: Kept


@dataclass(frozen=True)
class Settings:
    """How a model is trained.

    Attributes:
        epochs: Passes over the samples; None for some two thousand steps.
        rate: Highest learning rate, in proportion to the size of each weight.
        batch: Samples of a step.
        temperature: What class scores are divided by.
        seconds: Time after which training ends; 0 for no limit.
        seed: Makes the order of samples repeatable.
        moves_levels: Whether integers, signs, and who shares which value change, too; None for
            signs and shared values alone.
        mixup: Whether samples are mixed in pairs; None where all are seen more than ten times.
        augment: What else is done to images: `flip`, `shift`, `noise`.
        cosines: Whether dense weights over pictures are trained by their coefficients as sums of
            cosines.
        alpha: Share of the cross entropy of labels in what is made small; the rest is what the
            teacher says.
        sparsity: Part of the weights of layers that becomes zero meanwhile; None for no more than
            there are.
    """

    epochs: int | None = None
    rate: float = 0.01
    batch: int = 128
    temperature: float = 2.0
    seconds: float = 0.0
    seed: int = 0
    moves_levels: bool | None = None
    mixup: bool | None = None
    augment: tuple[str, ...] = ()
    sparsity: float | None = None
    cosines: bool = False
    alpha: float = 0.0


@dataclass(frozen=True)
class Tuned:
    """What came of it.

    Attributes:
        values: The weights that were trained, float32, by name; empty if nothing got better.
        forms: Form of each, its elements, and the numbers that were trained.
        before: Divergence on held-out samples before.
        after: The same with the best weights.
        steps: Steps that were made.
        epochs: Epochs that were planned.
        samples: Samples that weights were fitted to, and those that were held out.
        left_out: Samples for which there was no room.
        stuck: Weights that cannot be trained, with label and operator of a node to blame.
        unknown: Weights whose values have a form that would not be kept.
        unlearned: Outputs that nothing is learned from, with a code: as the data decide their
            lengths (lengths-vary), or they are not finite (not-finite) or no floats (not-floats).
        zeros: Part of the weights of layers that is zero, where more became so.
        ended_early: Whether somebody asked for the end before it was there.
        compares: Whether any output of teacher and student can be compared.
    """

    values: Mapping[str, np.ndarray] = field(default_factory=dict)
    forms: Mapping[str, tuple[str, int, int]] = field(default_factory=dict)
    before: float = 0.0
    after: float = 0.0
    steps: int = 0
    epochs: int = 0
    samples: tuple[int, int] = (0, 0)
    left_out: int = 0
    stuck: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    unknown: tuple[str, ...] = ()
    unlearned: Mapping[str, str] = field(default_factory=dict)
    zeros: float | None = None
    ended_early: bool = False
    compares: bool = True
