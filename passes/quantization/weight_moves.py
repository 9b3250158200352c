"""Storing weights in fewer bits as moves: one for each weight, made all at once."""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ocompress.diagnostics import Severity
from ocompress.ir import Model
from ocompress.lossy.refit import Built
from ocompress.pipeline import Context, Limit
from passes.quantization import fitting, storing, weight_moments, weight_report, weight_sites
from passes.quantization.blockwise import BlockWeight
from passes.quantization.weight_emit import WeightEmitter, modernize
from passes.quantization.weight_forms import HALVES, INT8_LEVEL, Effect, Role
from passes.quantization.weight_site import SiteRules, Skip, WeightSite

if TYPE_CHECKING:
    from passes.quantization.quant_weights import QuantWeights


@dataclass(frozen=True)
class Stored(Built):
    """A model with weights in fewer bits.

    Attributes:
        rows: A row for the report of each weight.
        newer: Whether the model needs another operator set than before.
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
    newer: bool = False


@dataclass(frozen=True)
class StoreWeight:
    """Stores one weight.

    Attributes:
        item: How.
        rules: Which weights may be.
        part: The weight, see `sites_of`.
    """

    item: QuantWeights
    rules: SiteRules
    part: str

    def apply(self, model: Model) -> bool:
        """Store it, without data; False if it is there no more."""
        return bool(store(self.item, model, self.rules, {self.part}, None).rows)


def sites_of(
    item: QuantWeights, model: Model, rules: SiteRules, skip: Skip = lambda *_: None
) -> dict[str, WeightSite]:
    """Return the weights that may be stored, by name; those of one name are numbered."""
    sites = weight_sites.collect(model, rules, skip)
    if (rules.folds or rules.may_fold) and not item.op_types:
        beside = storing.elementwise(model, sites, rules)
        sites += [replace(s, folded=True) for s in beside if rules.folds or s.is_selected]
    found: dict[str, WeightSite] = {}
    for site in sites:
        name = site.value.name
        found[name if name not in found else f"{name} ({len(found)})"] = site
    return found


def store(
    item: QuantWeights, model: Model, rules: SiteRules, parts: Container[str], ctx: Context | None
) -> Stored:
    """Store weights of a model.

    Args:
        item: How.
        model: Changed.
        rules: Which may be stored.
        parts: Which are.
        ctx: Has the data that weights are fitted to; None rounds them to nearest.
    """
    sites = [site for part, site in sites_of(item, model, rules).items() if part in parts]
    emitter = WeightEmitter(model)
    if item.form in HALVES:
        rows = storing.store_halves(sites, emitter, item.form)
    elif item.kernel == "fold":
        rows = _folded(item, sites, emitter)
    else:
        fitted = list(_fitted(item, [s for s in sites if not s.folded], model, ctx))
        made = {id(s): _emit(item, s, weight, emitter) | more for s, weight, more in fitted}
        rows = [made.get(id(s)) or _folded(item, [s], emitter)[0] for s in sites]
    emitter.finish()
    contrib = item.is_contrib and any(s.role is not Role.TABLE for s in sites)
    return Stored(model, rows=rows, newer=modernize(model) or contrib)


def _folded(
    item: QuantWeights, sites: list[WeightSite], emitter: WeightEmitter
) -> list[dict[str, Any]]:
    """Have files alone hold integers of weights, and return a row for the report of each."""
    if item.form == "int8" and not item.block:
        return storing.store(sites, emitter)
    fit = fitting.robust if item.fit == "hqq" else fitting.nearest
    return storing.store_in_blocks(sites, {role: item.grid(role) for role in Role}, fit)


def effect_of(item: QuantWeights, site: WeightSite) -> Effect:
    """Return what ONNX Runtime makes of a weight in an integer form."""
    if site.role is Role.TABLE:
        return Effect.ROWS
    if item.is_contrib and site.role is Role.MATRIX:
        return Effect.FUSED
    return Effect.EVERY_RUN if weight_sites.unfused(site) else Effect.FUSED


def _fitted(
    item: QuantWeights, sites: list[WeightSite], model: Model, ctx: Context | None
) -> Iterator[tuple[WeightSite, BlockWeight, dict[str, Any]]]:
    """Choose the integers of every weight; the model must not change meanwhile."""
    done = 0
    for load in weight_moments.loads(sites) if item.fit == "gptq" else [sites]:
        seen = item.fit == "gptq" and ctx is not None
        moments = weight_moments.gather(load, model, ctx) if seen and ctx is not None else {}
        for site in load:
            done += 1
            if ctx is not None:
                ctx.progress(f"{item.name}: fitting", done, len(sites))
            yield site, *_fit(item, site, moments.get(id(site.value)))


def _fit(
    item: QuantWeights, site: WeightSite, moments: np.ndarray | None
) -> tuple[BlockWeight, dict[str, Any]]:
    grid, rows = item.grid(site.role), site.rows
    if item.fit == "hqq":
        return fitting.robust(rows, grid), {"fit": "hqq"}
    if item.fit == "gptq" and moments is not None:
        weight = fitting.second_order(rows, grid, moments)
        error = fitting.output_error(rows, weight, moments)
        return weight, {"fit": "gptq", "output_error": round(error, 6)}
    return fitting.nearest(rows, grid), {"fit": "rtn"}


def _emit(
    item: QuantWeights, site: WeightSite, weight: BlockWeight, emitter: WeightEmitter
) -> dict[str, Any]:
    error = fitting.weight_error(site.rows, weight)
    row = weight_report.row(site, effect_of(item, site), weight.bytes, error)
    if site.role is Role.TABLE:
        emitter.look_up(site, weight)
    elif item.is_contrib and site.role is Role.MATRIX:
        level = INT8_LEVEL if item.accuracy_level is None else item.accuracy_level
        emitter.matmul_nbits(site, weight, level)
    else:
        emitter.dequantize(site, weight)
    return row


def too_slow(item: QuantWeights, model: Model, rules: SiteRules, ctx: Context) -> bool:
    """Whether a limit on the latency rules out the kernels of integers, so that folding is left.

    Only where options leave the choice, and integers need no data.
    """
    is_free = item.kernel == "auto" and item.fit != "gptq"
    sites = sites_of(item, model, rules) if is_free and ctx.allowance.has(Limit.LATENCY) else {}
    if all(site.folded or site.role is not Role.MATRIX for site in sites.values()):
        return False
    made = store(item, model.clone(), rules, sites, None).model
    verdict = ctx.allowance.judged(Limit.LATENCY, made, model)
    if verdict is None or verdict.held:
        return False
    what = f"kernel=fold takes the place of MatMulNBits, with which {verdict.message}"
    ctx.remark(Severity.NOTE, "does-not-pay", what)
    return True
