"""Telling texts and masks by what an output looks like."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import TypeAlias

import numpy as np

from ocompress.analysis.gradients.seeds import Currency, Seeding
from ocompress.analysis.output_parts import parts_of
from ocompress.analysis.scales import within_unit
from ocompress.ir import Model
from ocompress.validation.decisions import DecisionRule, Kind
from ocompress.validation.deviations import Deviations
from ocompress.validation.masks import ClassMasks, Masks
from ocompress.validation.measures import LossUnit, Measure
from ocompress.validation.tally import Matching
from ocompress.validation.texts import Texts

Outputs: TypeAlias = Mapping[str, np.ndarray]

_CHARACTERS = re.compile(r"char|vocab|alphabet", re.IGNORECASE)
"""What keys under which a file lists its characters have in them."""
_DIGITS = 11
"""Least classes of a text: digits and the blank."""
_OFTEN, _RUN = 0.3, 3.0
"""Least share of blanks, and how many steps a character takes at most on average."""
_SPREAD = 8
"""Least height and width of a mask."""
_CRISP = 0.8
"""Share of the pixels of a mask that are clearly inside or outside: a picture has fewer."""
_ALIKE = 0.7
"""Share of neighbouring pixels of one class that a map of classes has at least."""
_MOST_MASKS = 64


def as_texts(
    model: Model, output: np.ndarray, base: Measure, *, asked: bool = False
) -> Measure | None:
    """Return how an output is counted that spells texts, None if it is no such thing.

    Args:
        model: The original.
        output: What it makes of the first feed, [samples, steps, classes] or [steps, samples,
            classes].
        base: What the graph tells of the output.
        asked: Whether somebody says that it is.
    """
    scores = base.unit is LossUnit.EXPECTED and base.rule is not None
    if output.ndim != 3 or not (asked or (scores and base.rule is not None)):
        return None
    classes = output.shape[-1]
    if scores and base.rule is not None and base.rule.axis % 3 != 2:
        return None
    rule = DecisionRule(Kind.TOP_1, -1)
    steps = rule.decide(output)
    shares = [float((steps == c).mean()) for c in (0, classes - 1)] if steps.size else [0.0, 0.0]
    blank = 0 if shares[0] >= shares[1] else classes - 1
    listed = _listed_characters(model, classes)
    if listed:
        why = f"texts of the {listed} characters that the file lists, spelled step by step"
    elif asked or _is_spelled(model, steps, blank, classes, max(shares)):
        why = f"texts of {classes - 1} characters, spelled step by step with blanks between"
    else:
        return None
    instead = Measure(LossUnit.AGREEMENT, rule, base.seeding, why="texts that are all empty")
    which = "first" if blank == 0 else "last"
    return Measure(
        LossUnit.CTC,
        rule,
        base.seeding,
        instead=instead,
        matching=Texts(blank),
        why=f"{why} (the {which} class is the blank)",
    )


def as_masks(output: np.ndarray, base: Measure, *, asked: bool = False) -> Measure | None:
    """Return how an output is counted that is a mask, or a map of classes; None if it is none.

    Args:
        output: What the original makes of the first feed, [samples, channels, height, width] or
            [samples, height, width].
        base: What the graph tells of the output.
        asked: Whether somebody says that it is.
    """
    if output.ndim not in (3, 4):
        return None
    rule = base.rule
    if rule is not None and rule.kind is Kind.TOP_1:
        axis = rule.axis % output.ndim
        sizes = [e for i, e in enumerate(output.shape[1:], start=1) if i != axis]
        if not asked and (output.ndim < 4 or min(sizes) < _SPREAD):
            return None
        if not asked and not _has_regions(rule.decide(output)):
            return None  # features, not scores
        return _map_of_classes(output, axis, base)
    unit = within_unit(output)
    if not asked and not (unit and min(output.shape[-2:]) >= _SPREAD and _is_crisp(output)):
        return None
    if asked and not unit and output.ndim == 4 and output.shape[1] > 1:
        return _map_of_classes(output, 1, base)
    if base.unit is not LossUnit.ERROR:
        base = replace(base, unit=LossUnit.ERROR, rule=None, instead=None)
    several = output.ndim == 4 and 1 < output.shape[1] <= _MOST_MASKS
    masks = Masks(output.shape[1] if several else 1, 0.5 if unit else 0.0)
    how = "probabilities of pixels, inside from 0.5 on" if unit else "pixels, inside above 0"
    instead = replace(base, why="masks that are all empty")
    return _matched(LossUnit.IOU, base, masks, f"a mask: {how}", instead)


def as_numbers(output: np.ndarray, base: Measure) -> Measure:
    """Return how numbers are counted relative to their size, part by part.

    Args:
        output: What the original makes of the first feed.
        base: What the graph tells of the output.
    """
    parts = base.parts
    if base.unit is not LossUnit.ERROR:
        parts = parts_of(output, Seeding(Currency.SQUARES))
    instead = Measure(LossUnit.ERROR, None, base.seeding, parts, why="numbers that are all zero")
    found = _matched(LossUnit.RELATIVE, base, Deviations(parts), "", instead)
    return replace(found, parts=parts)


def _map_of_classes(output: np.ndarray, axis: int, base: Measure) -> Measure:
    classes = output.shape[axis]
    rule = DecisionRule(Kind.TOP_1, axis)
    instead = Measure(LossUnit.AGREEMENT, rule, base.seeding, why="a map that decides nothing")
    masks = ClassMasks(classes, axis)
    found = _matched(LossUnit.IOU, base, masks, f"a map of {classes} classes", instead)
    return replace(found, rule=rule)


def _matched(
    unit: LossUnit, base: Measure, matching: Matching, why: str, instead: Measure
) -> Measure:
    return Measure(unit, None, base.seeding, instead=instead, matching=matching, why=why)


def _is_crisp(output: np.ndarray) -> bool:
    """Whether most pixels are clearly in or out."""
    clear = (output < 0.1) | (output > 0.9)
    return bool(clear.mean() >= _CRISP)


def _has_regions(classes: np.ndarray) -> bool:
    """Whether most neighbours of a map, [..., height, width], are of the same class."""
    down = classes[..., 1:, :] == classes[..., :-1, :]
    across = classes[..., 1:] == classes[..., :-1]
    return bool(min(down.mean(), across.mean()) >= _ALIKE)


def _listed_characters(model: Model, classes: int) -> int:
    """Return how many characters a file lists, as many as there are classes but one or two."""
    for key, text in model.metadata.items():
        if _CHARACTERS.search(key):
            count = len(text.splitlines())
            if 1 <= classes - count <= 2:
                return count
    return 0


def _is_spelled(model: Model, steps: np.ndarray, blank: int, classes: int, often: float) -> bool:
    """Whether decisions look like characters with blanks between, of pictures or sound."""
    kinds = [v.dtype for v in model.graph.inputs]
    if classes < _DIGITS or any(k is not None and not k.is_float for k in kinds):
        return False
    if not _OFTEN <= often < 1.0:
        return False
    runs = [_mean_run(np.asarray(rows), blank) for rows in (steps, steps.T)]
    return min(runs) <= _RUN


def _mean_run(rows: np.ndarray, blank: int) -> float:
    """Return the mean number of steps that a character takes; infinite without any."""
    starts = np.ones(rows.shape, bool)
    starts[:, 1:] = rows[:, 1:] != rows[:, :-1]
    spelled = rows != blank
    count = int((starts & spelled).sum())
    return float(spelled.sum()) / count if count else float("inf")
