"""Where the boxes of a detector lie among its outputs, told by shapes, values and names.

| layout | outputs |
|---|---|
| lists | boxes `[n, 4]` or `[b, n, 4]`, scores `[b, n]` or `[b, n, classes]`, classes `[b, n]` |
| rows after non-maximum suppression | `[b, n, 6]`, `[n, 6]`, `[n, 7]`, `[1, 1, n, 7]` |
| rows before it | `[b, n, 4 + classes]`, `[b, n, 5 + classes]`, `[b, 4 + classes, n]` |
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from ocompress.analysis.scales import within_unit
from ocompress.validation.boxes import Boxes, Scoring
from ocompress.validation.decisions import as_float, is_float

_NAMED = re.compile(r"box|det|loc", re.IGNORECASE)
"""What names of outputs with boxes have in them."""
_CERTAIN = 0.995
"""Share of rows that have to look like boxes of two corners."""
_PIXELS = 2.0
"""Coordinates above this are pixels, not shares of an image."""
_SUM = 1e-3
"""What shares of four classes sum to 1 within."""
_FINAL = ((0, 4, 5, None), (2, 1, 0, None), (1, 6, 5, 0), (3, 2, 1, 0))
"""Orders of columns after suppression: box, score, class, image. The first is that of YOLOv10, the
second of PaddleDetection, the third of YOLOv7, the last of SSD in Caffe and OpenVINO."""


@dataclass(frozen=True)
class Found:
    """Boxes that were found among outputs.

    Attributes:
        outputs: Names of the outputs that hold them, columns in this order; boxes come first.
        beside: Names of further outputs with a row for each box, or their number.
        layout: How rows are read.
        why: What they were told by, for people.
    """

    outputs: tuple[str, ...]
    beside: tuple[str, ...]
    layout: Boxes
    why: str


def find_boxes(
    outputs: Mapping[str, np.ndarray], metadata: Mapping[str, str], *, asked: bool = False
) -> Found | None:
    """Find the boxes of a detector.

    Args:
        outputs: What the original makes of the first feed.
        metadata: What its file says of it.
        asked: Whether somebody says that there are some, so that less has to speak for them.

    Returns:
        None where no layout fits.
    """
    lists = _lists(outputs, asked=asked)
    if lists is not None:
        return lists
    for name, array in outputs.items():
        if not is_float(array) or array.ndim not in (2, 3, 4):
            continue
        known = asked or _NAMED.search(name) is not None
        values = np.nan_to_num(as_float(array))
        layout = _final(values, known=known) or _raw(values, metadata, asked=asked)
        if layout is not None:
            return Found((name,), (), layout, _told(layout, metadata))
    return None


def joined(arrays: list[np.ndarray]) -> np.ndarray | None:
    """Return lists of boxes, scores and classes as columns of one array, [..., n, columns].

    Args:
        arrays: Boxes [..., n, 4], and arrays [..., n] or [..., n, columns].
    """
    lead = arrays[0].shape[:-1]
    if any(a.shape[: len(lead)] != lead or a.ndim > len(lead) + 1 for a in arrays):
        return None
    columns = [as_float(a).reshape(*lead, -1) if a.size else _no_rows(a, lead) for a in arrays]
    return np.concatenate(columns, -1)


def _no_rows(array: np.ndarray, lead: tuple[int, ...]) -> np.ndarray:
    width = array.shape[-1] if array.ndim > len(lead) else 1
    return np.zeros((*lead, width), np.float32)


def _lists(outputs: Mapping[str, np.ndarray], *, asked: bool) -> Found | None:
    """Find boxes beside scores."""
    for name, boxes in outputs.items():
        if not is_float(boxes) or boxes.ndim not in (2, 3) or boxes.shape[-1] != 4:
            continue
        if not asked and _are_classes(name, boxes, outputs):
            continue
        lead = boxes.shape[:-1]
        mates = {n: a for n, a in outputs.items() if n != name and a.shape[: len(lead)] == lead}
        label = next((n for n, a in mates.items() if a.shape == lead and _is_label(n, a)), None)
        score = next(
            (n for n, a in mates.items() if n != label and _are_scores(a, lead, label)), None
        )
        known = asked or _NAMED.search(name) is not None
        if score is None or not (_look_like_boxes(boxes) or known):
            continue
        plain = label is None and mates[score].ndim == len(lead)
        if len(lead) < 2 and (label is None or plain):
            continue  # rows of a batch may have four numbers, too
        values = as_float(mates[score])
        if label is None and not (known or within_unit(values)):
            continue
        others = [n for n in mates if n not in (score, label)]
        others += [n for n, a in outputs.items() if "num" in n.lower() and n not in mates]
        sources = (name, score) if label is None else (name, score, label)
        layout = _of_lists(boxes, values.reshape(*lead, -1), has_label=label is not None)
        why = "boxes, scores and classes" if label is not None else "boxes and scores"
        return Found(sources, tuple(o for o in others if o != name), layout, f"{why} in rows")
    return None


def _of_lists(boxes: np.ndarray, scores: np.ndarray, *, has_label: bool) -> Boxes:
    layout = Boxes((4, 4 + scores.shape[-1]), corners=_are_corners(boxes))
    if has_label:
        return replace(layout, label=4 + scores.shape[-1], is_final=True)
    if not within_unit(scores):
        soft = np.exp(scores - scores.max(-1, keepdims=True))
        soft = soft / soft.sum(-1, keepdims=True)
        back = _background(soft)
        way = Scoring.SIGMOID if back is None else Scoring.SOFTMAX
        return replace(layout, scoring=way, background=back)
    sums = scores.shape[-1] > 1 and bool(np.all(np.abs(scores.sum(-1) - 1) < _SUM))
    return replace(layout, background=_background(scores) if sums else None)


def _background(p: np.ndarray) -> int | None:
    """Return the class that most rows are of, if it is the first or the last one."""
    if p.shape[-1] < 2 or not p.size:
        return None
    share = (p > 0.5).reshape(-1, p.shape[-1]).mean(0)
    return next((c for c in (0, p.shape[-1] - 1) if share[c] > 0.5), None)


def _is_label(name: str, array: np.ndarray) -> bool:
    """Whether an output holds a class for each box."""
    if array.dtype.kind in "iu":
        return True
    named = re.search(r"class|label", name, re.IGNORECASE) is not None
    return named and is_float(array) and _are_whole(as_float(array))


def _are_classes(name: str, array: np.ndarray, outputs: Mapping[str, np.ndarray]) -> bool:
    """Whether four numbers each are scores of classes: shares, or what shares are made of.

    Args:
        name: The output.
        array: What it holds, [..., 4].
        outputs: All of them.
    """
    if not array.size:
        return False
    values = np.nan_to_num(as_float(array))
    if values.min() >= 0 and bool(np.all(np.abs(values.sum(-1) - 1) < _SUM)):
        return True
    soft = np.exp(values - values.max(-1, keepdims=True))
    forms = (soft / soft.sum(-1, keepdims=True), 1 / (1 + np.exp(-np.clip(values, -60, 60))))
    mates = [as_float(a) for n, a in outputs.items() if n != name and a.shape == array.shape]
    return any(np.allclose(form, mate, atol=_SUM) for mate in mates for form in forms)


def _are_scores(array: np.ndarray, lead: tuple[int, ...], label: str | None) -> bool:
    """Whether an output holds scores: one for each box, or without classes beside them several."""
    if not is_float(array):
        return False
    if array.shape in (lead, (*lead, 1)):
        return within_unit(as_float(array)) or not array.size
    return label is None and array.ndim == len(lead) + 1


def _final(values: np.ndarray, *, known: bool) -> Boxes | None:
    """Return how rows with a score and a class are read, None if these are none."""
    columns = values.shape[-1]
    if columns not in (6, 7) or (values.ndim == 4 and values.shape[:2] != (1, 1)):
        return None
    rows = values.reshape(-1, columns)
    for box, score, label, image in _FINAL:
        if max(box + 3, score, label) >= columns or (image is None) != (columns == 6):
            continue
        found = Boxes((score, score + 1), box, label=label, image=image, is_final=True)
        if not len(rows):
            return found if known else None
        whole = [c for c in (label, image) if c is not None]
        fits = all(_are_whole(rows[:, c]) for c in whole) and within_unit(rows[:, score])
        if fits and _are_corners(rows[:, box : box + 4]) and rows[:, box : box + 4].any():
            return found
    return None


def _raw(values: np.ndarray, metadata: Mapping[str, str], *, asked: bool) -> Boxes | None:
    """Return how rows that come before suppression are read, None if these are none."""
    if values.ndim != 3:
        return None
    detects = metadata.get("task") == "detect"
    for axis in (-2, -1):
        columns = values.shape[axis]
        if columns < 5 or (columns > values.shape[-3 - axis] and detects):
            continue
        rows = np.moveaxis(values, axis, -1)
        if not within_unit(rows[..., 4:]):
            continue
        pixels = float(np.abs(rows[..., :4]).max()) > _PIXELS
        if (pixels and _look_like_boxes(rows[..., :4])) or detects or asked:
            first = 5 if _has_objectness(columns, axis, metadata) else 4
            return Boxes(
                (first, columns),
                axis=axis,
                corners=_are_corners(rows[..., :4]),
                objectness=4 if first == 5 else None,
            )
    return None


def _has_objectness(columns: int, axis: int, metadata: Mapping[str, str]) -> bool:
    """Whether the fifth column says if there is an object: as in YOLO, where rows come first."""
    names = _names(metadata)
    if names:
        return columns == 5 + names
    return axis == -1 and columns > 5 and columns - 4 not in (20, 80, 91, 365)


def _names(metadata: Mapping[str, str]) -> int:
    """Return how many classes a file of Ultralytics names, 0 where it does not."""
    try:
        return len(ast.literal_eval(metadata.get("names", "")))
    except (SyntaxError, ValueError, TypeError):
        return 0


def _are_corners(boxes: np.ndarray) -> bool:
    """Whether boxes [..., 4] are two corners, the second one right and below of the first."""
    flat = boxes.reshape(-1, 4)
    if not len(flat):
        return True
    fits = (flat[:, 2] >= flat[:, 0]) & (flat[:, 3] >= flat[:, 1])
    return float(fits.mean()) >= _CERTAIN


def _look_like_boxes(boxes: np.ndarray) -> bool:
    """Whether four numbers each may be boxes: two corners in order, or sizes above 0."""
    flat = boxes.reshape(-1, 4)
    sizes = float((flat[:, 2:] >= 0).all(-1).mean()) if len(flat) else 1.0
    return _are_corners(boxes) or sizes >= _CERTAIN


def _are_whole(values: np.ndarray) -> bool:
    return bool(np.all(values == np.rint(values)))


def _told(layout: Boxes, metadata: Mapping[str, str]) -> str:
    if layout.is_final:
        return "rows of a box, a score and a class"
    classes = layout.scores[1] - layout.scores[0]
    object_ = ", one of an object" if layout.objectness is not None else ""
    source = " (its file says that it detects)" if metadata.get("task") == "detect" else ""
    kinds = "class" if classes == 1 else "classes"
    return f"rows of a box{object_} and scores of {classes} {kinds}{source}"


def companions(found: Found) -> Iterator[str]:
    """Yield the outputs that are counted with the first one."""
    yield from found.outputs[1:]
    yield from found.beside
