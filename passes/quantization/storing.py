"""Weights that are int8 in the file and float32 once it is loaded, at no cost in speed."""

from __future__ import annotations

from collections.abc import Sequence, Set
from fnmatch import fnmatchcase
from typing import Any

import numpy as np

from ocompress.analysis.sensitivity import Edit
from ocompress.diagnostics import Severity
from ocompress.ir import DType, Model, Node, edit
from ocompress.pipeline import Context
from passes.quantization import weight_report, weight_sites
from passes.quantization.blockwise import BlockGrid, BlockWeight
from passes.quantization.noise import grouped, noise_of
from passes.quantization.selection import tolerable
from passes.quantization.weight_emit import WeightEmitter
from passes.quantization.weight_forms import HALVES, Effect, Role
from passes.quantization.weight_sites import SiteRules, Skip, WeightSite

_NODES = 300
"""Bytes of the two nodes, their names and tensors that restore a weight."""
_MOST_VARIANTS = 32
_MOST_LOST = 0.25
"""Part of a table that may become zeros."""
_SHARE, _FLOOR = 0.25, 3e-4
"""Part of the noise there is, or of 35 dB, that storing may add beside integer operators."""
_SHARES = (1.0, 0.08, 0.004)
"""Parts of what may be added that are tried where a limit on the drop says that it is too much."""
_LARGER_SHARES = (4.0, 40.0, float("inf"))
"""The same while the file is larger than allowed."""
_TELLING = ("not-finite", "shared-weight")
"""Why a weight cannot be stored, beside what is said of its operator anyway."""
_ROWS = BlockGrid(bits=8, block=0, symmetric=True)


def addable(noise: float | None, rate: float) -> float:
    """Return the noise that storing weights may add to outputs.

    Args:
        noise: Noise over signal power that integer operators make; None if there are none.
        rate: Share of the time that noise lower by a factor e is worth.

    Returns:
        Beside integer operators, little of their noise; else what is worth bytes at that rate.
    """
    return _SHARE * (noise + _FLOOR) if noise is not None else tolerable(rate)


def store_rest(
    model: Model, original: Model, without: Set[int], allowed: float, ctx: Context
) -> list[dict[str, Any]]:
    """Store the float weights of a model, and its other large float constants, as int8.

    Each is rounded by itself first, to see what it costs; the cheapest per byte are taken while
    they add no more noise than allowed, less of them where a limit on the drop says so, and more
    where one on the size does.

    Args:
        model: Changed.
        original: The model before anything was rounded.
        without: Nodes, by id, whose weights stay as they are.
        allowed: Noise over signal power that may be added, see `addable`.
        ctx: Has the data.

    Returns:
        A row for the report of each weight.
    """
    sites = [s for s in _sites(model, _teller(without, ctx)) if not _touches(s, without)]
    groups = grouped(sites, original, _MOST_VARIANTS)
    variants = {str(i): _rounded(group) for i, group in enumerate(groups)}
    stage = "quant: rounding weights that stay float"
    measured = noise_of(original, variants, 0.0, ctx, stage, unmade=1.0)
    costs = [measured[str(i)] for i in range(len(groups))]
    rows: list[dict[str, Any]] = []
    chosen: set[str] = set()
    float_model = model.clone()
    for share in _SHARES:
        names = _quiet(groups, costs, share * allowed)
        if not names:
            break
        rows, chosen = _store_named(model, names), names
        if _holds("max-drop", model, original, ctx):
            break
        model.become(float_model.clone())
        rows, chosen = [], set()
    for share in _LARGER_SHARES:
        if _holds("size", model, original, ctx):
            break
        names = _quiet(groups, costs, share * allowed)
        tried = float_model.clone()
        found = _store_named(tried, names)
        if not _holds("max-drop", tried, original, ctx):
            break
        model.become(tried)
        rows, chosen = found, names
    for site in sites:
        if site.value.name not in chosen:
            why = "its weight stays float32: rounded to int8 it would cost too much"
            ctx.remark(Severity.NOTE, "float-weight", why, site.nodes[0])
    return rows


def _teller(without: Set[int], ctx: Context) -> Skip:
    def skip(node: Node, code: str, why: str) -> None:
        if code in _TELLING and id(node) not in without:
            ctx.remark(Severity.NOTE, "float-weight", f"its weight stays float32: {why}", node)

    return skip


def _holds(kind: str, model: Model, original: Model, ctx: Context) -> bool:
    verdict = ctx.judged(kind, model, original)
    return verdict is None or verdict.held


def _store_named(model: Model, names: Set[str]) -> list[dict[str, Any]]:
    emitter = WeightEmitter(model)
    rows = store([s for s in _sites(model) if s.value.name in names], emitter)
    emitter.finish()
    model.sort()
    return rows


def _sites(model: Model, skip: Skip = lambda *_: None) -> list[WeightSite]:
    rules = SiteRules(
        form="int8",
        blocks=dict.fromkeys(Role, 0),
        op_types=weight_sites.OP_TYPES,
        exclude=(),
        smallest=0,
        kernel="fold",
        keep_slower=False,
    )
    sites = weight_sites.collect(model, rules, skip)
    sites += _others(model, {id(s.value) for s in sites})
    return [s for s in sites if _pays(s)]


def _quiet(
    groups: Sequence[Sequence[WeightSite]], costs: Sequence[float], budget: float
) -> set[str]:
    """Return the names of the weights that the outputs hardly notice."""
    chosen: set[str] = set()

    def per_byte(index: int) -> float:
        return costs[index] / sum(s.array.nbytes for s in groups[index])

    for index in sorted(range(len(groups)), key=per_byte):
        budget -= costs[index]
        if budget < 0:
            break
        chosen.update(s.value.name for s in groups[index])
    return chosen


def _rounded(sites: Sequence[WeightSite]) -> Edit:
    def change(model: Model) -> bool:
        constants = {n: v for g in model.graph.graphs() for n, v in g.initializers.items()}
        for site in sites:
            value = constants.get(site.value.name)
            if value is None or value.constant is None or value.constant.size != site.array.size:
                return False
            integers, scales = to_int8(site.array, site.channel_axes)
            edit.set_weight(value, (integers * scales).reshape(value.constant.shape))
        return True

    return change


def store(sites: list[WeightSite], emitter: WeightEmitter) -> list[dict[str, Any]]:
    """Store weights as int8 with a scale per channel, tables with one per row.

    Args:
        sites: The weights.
        emitter: Writes them into its model.

    Returns:
        A row for the report of each weight.
    """
    rows = []
    for site in sites:
        integers, scales = to_int8(site.array, site.channel_axes)
        whole = site.array.astype(np.float64)
        off = integers * scales - whole
        size = float(np.linalg.norm(whole))
        error = float(np.linalg.norm(off)) / size if size else 0.0
        looked_up = site.is_looked_up and site.role is Role.TABLE and site.array.ndim == 2
        effect = Effect.ROWS if looked_up else Effect.FOLDED
        rows.append(weight_report.row(site, effect, integers.nbytes + scales.nbytes, error))
        if looked_up:
            zeros = np.zeros(scales.shape, np.int8)
            emitter.look_up(site, BlockWeight(integers, scales, zeros, _ROWS))
        else:
            emitter.fold(site, integers, scales)
    return rows


def store_halves(
    sites: list[WeightSite], emitter: WeightEmitter, form: str
) -> list[dict[str, Any]]:
    """Store weights as floats of 16 bits.

    Args:
        sites: The weights.
        emitter: Writes them into its model.
        form: `fp16` or `bf16`.

    Returns:
        A row for the report of each weight.
    """
    dtype = DType[HALVES[form].upper()]
    rows = []
    for site in sites:
        off = site.array.astype(dtype.numpy).astype(np.float32) - site.array
        effect = Effect.ROWS if site.is_looked_up else Effect.FOLDED
        size = float(np.linalg.norm(site.array))
        error = float(np.linalg.norm(off)) / size if size else 0.0
        rows.append(weight_report.row(site, effect, site.array.nbytes // 2, error))
        emitter.cast(site, dtype)
    return rows


def _others(model: Model, known: Set[int]) -> list[WeightSite]:
    """Return what standard operators without weights read: tables of positions, masks, slopes."""
    found = []
    for graph in model.graph.graphs():
        for value in graph.initializers.values():
            array = value.constant
            readers = [node for node, _ in value.users]
            if array is None or id(value) in known or not readers or value.is_output:
                continue
            plain = all(not n.domain and not n.is_op(*weight_sites.OP_TYPES) for n in readers)
            if plain and array.dtype == np.float32 and max(array.shape, default=0) < array.size:
                found.append(WeightSite(value, Role.KERNEL, 1, readers))
    return [s for s in found if np.isfinite(s.array).all()]


def elementwise(model: Model, known: Sequence[WeightSite], rules: SiteRules) -> list[WeightSite]:
    """Return large constants of operators without weights that may be stored, too.

    A table whose elements would mostly become zeros, for a few are far larger than all others
    (a mask among numbers), is not among them.

    Args:
        model: Has the constants.
        known: The weights that are stored anyway.
        rules: How; those that fold, so that any operator may read the result.
    """
    found = []
    for site in _others(model, {id(s.value) for s in known}):
        named = any(fnmatchcase(n.label, p) for n in site.nodes for p in rules.exclude)
        if named or weight_sites.check_array(site.array, rules) is not None:
            continue
        if rules.form in HALVES:
            pays = site.value.file_bytes - 2 * site.array.size > _NODES
        else:
            lost = (to_int8(site.array, site.channel_axes)[0] == 0) & (site.array != 0)
            pays = _pays(site) and float(lost.mean()) <= _MOST_LOST
        if pays:
            found.append(site)
    return found


def _pays(site: WeightSite) -> bool:
    scales = np.prod([site.array.shape[a] for a in site.channel_axes])
    return bool(site.value.file_bytes - site.array.size > 4 * scales + _NODES)


def _touches(site: WeightSite, nodes: Set[int]) -> bool:
    return any(id(n) in nodes for n in site.nodes)


def to_int8(array: np.ndarray, axes: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Round an array to -127..127 with a scale for each index of some axes.

    Args:
        array: Float32.
        axes: The axes whose indices have a scale of their own.

    Returns:
        int8 of the same shape, and float32 scales that broadcast with it.
    """
    others = tuple(a for a in range(array.ndim) if a not in axes)
    scales = np.abs(array).max(axis=others, keepdims=True, initial=0.0) / np.float32(127)
    scales = np.where(scales >= np.finfo(np.float32).tiny, scales, np.float32(1))
    scales = scales.astype(np.float32)
    with np.errstate(over="ignore"):
        fits = np.isfinite(np.float32(127) * scales)  # the largest floats would become infinite
    scales = np.where(fits, scales, np.nextafter(scales, np.float32(0)))
    return np.rint(array / scales).clip(-127, 127).astype(np.int8), scales
