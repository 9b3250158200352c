"""Resizing, one axis after the other."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ocompress.training.registry import Call, Extents, Function, UnsupportedError, rule


@rule("Resize", since=11, static=(1, 2, 3))
def resize(call: Call) -> Function:
    """Nearest, linear or cubic: a choice or a small matrix for every axis that changes."""
    mode = call.attr("mode", "nearest")
    if call.attr("antialias", 0):
        msg = "it is smoothed"
        raise UnsupportedError(msg)
    scales = _scales(call)
    made = call.made[0] if call.made else None
    if made is None:
        made = _extents(call, scales)
    picks: list[tuple[int, Tensor]] = []
    mixes: list[tuple[int, Tensor]] = []
    for axis, (old, new, scale) in enumerate(zip(call.shape(), made, scales, strict=True)):
        if old == new and scale == 1:
            continue
        at = _coordinates(call, old, new, scale)
        if mode == "nearest":
            picks.append((axis, torch.from_numpy(_nearest(call, at, old))))
            continue
        matrix = _linear(at, old) if mode == "linear" else _cubic(call, at, old)
        mixes.append((axis, torch.from_numpy(matrix).to(call.floating)))

    def apply(x: Tensor, *_: Tensor | None) -> Tensor:
        for axis, index in picks:
            x = x.index_select(axis, index)
        for axis, matrix in mixes:
            x = (x.transpose(axis, -1) @ matrix.t()).transpose(axis, -1)
        return x

    return apply


def _extents(call: Call, scales: list[float]) -> Extents:
    """Return the new extents: rounded where sizes were asked for, else cut off."""
    asked = call.has(3) and call.known(3).size > 0
    products = [np.float32(e) * np.float32(s) for e, s in zip(call.shape(), scales, strict=True)]
    return tuple(int(np.floor(p + 0.5) if asked else np.floor(p)) for p in products)


def _scales(call: Call) -> list[float]:
    """Return the factor of each axis."""
    rank = call.rank()
    axes = [int(a) % rank for a in call.attr("axes", range(rank))]
    found = [1.0] * rank
    if call.has(2) and call.known(2).size:
        for axis, scale in zip(axes, call.known(2).reshape(-1), strict=True):
            found[axis] = float(scale)
        return found
    wanted = call.ints(3) or []
    ratios = [w / call.shape()[a] for a, w in zip(axes, wanted, strict=True)]
    policy = call.attr("keep_aspect_ratio_policy", "stretch")
    if policy != "stretch":
        one = min(ratios) if policy == "not_larger" else max(ratios)
        ratios = [one] * len(ratios)
    for axis, ratio in zip(axes, ratios, strict=True):
        found[axis] = ratio
    return found


def _coordinates(call: Call, old: int, new: int, scale: float) -> np.ndarray:
    """Return where along the old axis each new element lies."""
    at = np.arange(new, dtype=np.float64)
    match call.attr("coordinate_transformation_mode", "half_pixel"):
        case "asymmetric":
            return at / scale
        case "half_pixel":
            return (at + 0.5) / scale - 0.5
        case "pytorch_half_pixel":
            return (at + 0.5) / scale - 0.5 if new > 1 else np.zeros(new)
        case "align_corners":
            return at * ((old - 1) / (new - 1)) if new > 1 else np.zeros(new)
        case "half_pixel_symmetric":
            return old / 2 * (1 - new / (scale * old)) + (at + 0.5) / scale - 0.5
        case other:
            msg = f"coordinates {other!r} are not known"
            raise UnsupportedError(msg)


def _nearest(call: Call, at: np.ndarray, old: int) -> np.ndarray:
    match call.attr("nearest_mode", "round_prefer_floor"):
        case "round_prefer_floor":
            found = np.ceil(at - 0.5)
        case "round_prefer_ceil":
            found = np.floor(at + 0.5)
        case "floor":
            found = np.floor(at)
        case _:
            found = np.ceil(at)
    return np.clip(found, 0, old - 1).astype(np.int64)


def _linear(at: np.ndarray, old: int) -> np.ndarray:
    at = np.clip(at, 0, old - 1)
    low = np.floor(at).astype(np.int64)
    part = at - low
    matrix = np.zeros((len(at), old))
    rows = np.arange(len(at))
    np.add.at(matrix, (rows, low), 1 - part)
    np.add.at(matrix, (rows, np.minimum(low + 1, old - 1)), part)
    return matrix


def _cubic(call: Call, at: np.ndarray, old: int) -> np.ndarray:
    a, outside = call.attr("cubic_coeff_a", -0.75), call.attr("exclude_outside", 0)
    matrix = np.zeros((len(at), old))
    low = np.floor(at).astype(np.int64)
    rows = np.arange(len(at))
    for tap in range(-1, 3):
        x = np.abs(at - (low + tap))
        near = ((a + 2) * x - (a + 3)) * x * x + 1
        far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
        weight = np.where(x <= 1, near, np.where(x < 2, far, 0))
        if outside:
            weight = np.where((low + tap < 0) | (low + tap >= old), 0, weight)
        np.add.at(matrix, (rows, np.clip(low + tap, 0, old - 1)), weight)
    return matrix / matrix.sum(axis=1, keepdims=True) if outside else matrix
