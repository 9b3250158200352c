"""Choosing how the loss of each output is counted: by what it looks like, or as somebody asks.

What can be told from the graph alone (scores of classes, embeddings, units of parts) is chosen
first. Values, shapes, names and what the file says of itself then tell boxes, texts and masks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from ocompress.analysis.gradients.logits import shaped_as_input
from ocompress.analysis.gradients.seeds import Currency, Joined, Seeding, amounts, choose
from ocompress.analysis.output_parts import OutputPart, parts_of
from ocompress.ir import Model
from ocompress.validation.box_layouts import Found, companions, find_boxes
from ocompress.validation.decisions import DecisionRule, Kind, as_float, is_float
from ocompress.validation.measures import LossUnit, Measure
from ocompress.validation.naming import AUTO, Wanted
from ocompress.validation.things import Outputs, as_masks, as_numbers, as_texts

_EMBEDDING = 64
"""Least extent of the last axis of what is taken for an embedding."""
_ALIKE = 0.8
"""Mean cosine of two rows from which on it says too little what a row's own cosine loses: at 0.98,
one point is as much as all that tells rows apart."""
_ASKED = "asked for"


def choose_measures(model: Model, outputs: Outputs, wanted: Wanted = AUTO) -> dict[str, Measure]:
    """Choose how the loss of each output is counted.

    Args:
        model: The original.
        outputs: What it makes of the first feed.
        wanted: What somebody asked for; outputs that cannot be counted so do not count.

    Raises:
        DataError: If an output that is named is not there.
    """
    wanted.check(outputs)
    plain = _plain(model, outputs)
    if wanted.unit is not None:
        silent = {name: replace(m, counts=False) for name, m in plain.items()}
        return silent | _named(model, outputs, plain, wanted.unit)
    found = _guessed(model, outputs, plain)
    for name, unit in wanted.by_output.items():
        asked = _named(model, outputs, plain, unit, name)
        found |= asked or {name: replace(plain[name], counts=False)}
    return found


def _plain(model: Model, outputs: Outputs) -> dict[str, Measure]:
    """Return what the graph tells of each output."""
    known, whole = {v.name for v in model.graph.outputs}, amounts(model, outputs)
    real = {n: a for n, a in outputs.items() if n in known and (is_float(a) or n in whole)}
    given = {n: a if n in whole else as_float(a) for n, a in real.items()}
    kinds = choose(model, given, {})
    return {
        name: _measure_of(as_float(array), kinds[name], like=shaped_as_input(array, model))
        if name in real
        else (
            Measure(LossUnit.ERROR, why="numbers")
            if is_float(array)
            else Measure(LossUnit.AGREEMENT, DecisionRule(Kind.EQUAL), why="whole numbers or text")
        )
        for name, array in outputs.items()
    }


def _guessed(model: Model, outputs: Outputs, plain: Mapping[str, Measure]) -> dict[str, Measure]:
    """Return how outputs are counted that are boxes, texts and masks, and all others."""
    found = dict(plain)
    boxes = find_boxes(outputs, model.metadata)
    if boxes is not None:
        found |= _of_boxes(boxes, outputs, plain)
    for name, array in outputs.items():
        measure = found[name]
        if boxes is not None and name in (*boxes.outputs, *boxes.beside):
            continue
        if is_float(array):
            values = as_float(array)
            text = as_texts(model, values, measure)
            found[name] = text or as_masks(values, measure) or measure
    return found


def _named(
    model: Model,
    outputs: Outputs,
    plain: Mapping[str, Measure],
    unit: LossUnit,
    only: str = "",
) -> dict[str, Measure]:
    """Return the measures of outputs that can be counted in a unit, of all or of a single one."""
    if unit is LossUnit.BOXES:
        boxes = find_boxes(outputs, model.metadata, asked=True)
        if only and (boxes is None or only not in boxes.outputs):
            boxes = find_boxes({only: outputs[only]}, model.metadata, asked=True)
        return {} if boxes is None else _of_boxes(boxes, outputs, plain)
    names = [only] if only else list(outputs)
    found = {n: _as_unit(model, outputs[n], plain[n], unit) for n in names}
    return {n: replace(m, why=m.why or _ASKED) for n, m in found.items() if m is not None}


def _as_unit(model: Model, array: np.ndarray, plain: Measure, unit: LossUnit) -> Measure | None:
    """Return an output's measure in a unit, None if it cannot be counted so."""
    if unit is LossUnit.AGREEMENT:
        fits = plain.rule is not None
        return replace(plain, unit=unit, instead=None, why=_ASKED) if fits else None
    if unit is LossUnit.EXPECTED:
        return (
            replace(plain, instead=None, numbers=None, why=_ASKED) if plain.unit is unit else None
        )
    if plain.seeding is None:
        return None
    if unit in (LossUnit.COSINE, LossUnit.ERROR):
        return replace(plain, unit=unit, rule=None, instead=None, why=_ASKED)
    values = as_float(array)
    if unit is LossUnit.CTC:
        return as_texts(model, values, plain, asked=True)
    if unit is LossUnit.IOU:
        return as_masks(values, plain, asked=True)
    return as_numbers(values, plain)


def _of_boxes(boxes: Found, outputs: Outputs, plain: Mapping[str, Measure]) -> dict[str, Measure]:
    """Return the measure of the output with the boxes; those with it do not count by themselves."""
    first = boxes.outputs[0]
    several = len(boxes.outputs) > 1
    base = plain[first]
    error = replace(base, unit=LossUnit.ERROR, rule=None, instead=None)
    if several:
        end = boxes.layout.scores[1]
        parts = (OutputPart("boxes", -1, np.arange(4)), _scores(boxes))
        error = Measure(LossUnit.ERROR, None, base.seeding, parts if end > 4 else parts[:1])
    elif base.unit is not LossUnit.ERROR:
        values = as_float(outputs[first])
        seeding = Seeding(Currency.SQUARES)
        error = Measure(LossUnit.ERROR, None, seeding, parts_of(values, seeding))
    leader = Measure(
        LossUnit.BOXES,
        seeding=base.seeding,
        instead=replace(error, why=f"{boxes.why}, of which none reaches a score"),
        matching=boxes.layout,
        joined=boxes.outputs if several else (),
        why=boxes.why,
    )
    rest = {n: replace(plain[n], counts=False, rule=None) for n in companions(boxes)}
    return {first: leader, **rest}


def _scores(boxes: Found) -> OutputPart:
    return OutputPart("scores", -1, np.arange(*boxes.layout.scores), within_unit=True)


def _measure_of(output: np.ndarray, seeding: Seeding | Joined, *, like: bool) -> Measure:
    if isinstance(seeding, Joined):
        parts = parts_of(output, seeding)
        why = "parts in units of their own" if len(parts) > 1 else "numbers"
        return Measure(LossUnit.ERROR, None, seeding, parts, why=why)
    if seeding.currency in (Currency.LOGITS, Currency.PROBABILITIES):
        parts = parts_of(output, _squares_of(seeding))
        if seeding.currency is Currency.PROBABILITIES or not _is_mixed(output, parts):
            rule = DecisionRule(Kind.TOP_1, seeding.axis)
            why = f"scores of {output.shape[seeding.axis]} classes"
            unsure = f"{why}, none of which is likely as a rule"
            agreement = Measure(LossUnit.AGREEMENT, rule, seeding, why=unsure)
            soft = seeding.currency is Currency.PROBABILITIES
            numbers = Measure(
                LossUnit.ERROR,
                None,
                seeding if soft else _squares_of(seeding),
                parts_of(output, seeding) if soft else parts,
                why=f"{why}, of which the same wins in all samples",
            )
            return Measure(
                LossUnit.EXPECTED, rule, seeding, instead=agreement, numbers=numbers, why=why
            )
        return Measure(LossUnit.ERROR, None, seeding, parts, why="parts in units of their own")
    parts = parts_of(output, seeding)
    error = Measure(LossUnit.ERROR, None, seeding, parts, why="numbers")
    if seeding.currency is Currency.BERNOULLI and output.size == output.shape[0]:
        rule = DecisionRule(Kind.THRESHOLD)
        return Measure(LossUnit.EXPECTED, rule, seeding, instead=error, why="one probability")
    wide = output.ndim in (2, 3) and output.shape[-1] >= _EMBEDDING and not like
    if wide and len(parts) == 1 and seeding.currency is Currency.SQUARES:
        why = f"an embedding of {output.shape[-1]} numbers"
        if _mean_cosine(output) > _ALIKE:
            return replace(error, why=f"{why}, which all point one way")
        return Measure(LossUnit.COSINE, None, seeding, why=why)
    return error


def _squares_of(seeding: Seeding) -> Seeding:
    return replace(seeding, currency=Currency.SQUARES)


def _mean_cosine(output: np.ndarray) -> float:
    """Return the mean cosine of two rows along the last axis, 0 if there is one."""
    finite = np.nan_to_num(np.asarray(output, np.float64), posinf=0.0, neginf=0.0)
    rows = finite.reshape(-1, output.shape[-1])
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    units = rows[length[:, 0] > 0] / length[length[:, 0] > 0]
    count = len(units)
    if count < 2:
        return 0.0
    return float((np.square(units.sum(axis=0)).sum() - count) / (count * (count - 1)))


def _is_mixed(output: np.ndarray, parts: Sequence[OutputPart]) -> bool:
    """Whether an output is boxes beside scores rather than logits, of which one may stick out."""
    sizes = [len(p.channels) for p in parts if p.channels is not None]
    return output.ndim > 2 and len(sizes) > 1 and min(sizes) > 1
