"""Which float weights of a model may be int8 in its file, and what that costs."""

from __future__ import annotations

from collections.abc import Container, Sequence, Set
from dataclasses import dataclass
from typing import Any

from ocompress.analysis.sensitivity import Edit
from ocompress.diagnostics import Severity
from ocompress.ir import Model, Node, edit
from ocompress.lossy import Move
from ocompress.pipeline import Context
from passes.quantization import weight_sites
from passes.quantization.noise import OutputHarm, grouped, noise_of
from passes.quantization.selection import tolerable
from passes.quantization.storing import others, pays, store, to_int8
from passes.quantization.weight_emit import WeightEmitter
from passes.quantization.weight_forms import Role
from passes.quantization.weight_site import SiteRules, Skip, WeightSite

_MOST_VARIANTS = 32
_SHARE, _FLOOR = 0.25, 3e-4
"""Part of the noise there is, or of 35 dB, that storing may add beside integer operators."""
_SETTING = "a scale per channel"
_TELLING = ("not-finite", "shared-weight")
"""Why a weight cannot be stored, beside what is said of its operator anyway."""


def addable(noise: float | None, rate: float) -> float:
    """Return the noise that storing weights may add to outputs.

    Args:
        noise: Noise over signal power that integer operators make; None if there are none.
        rate: Share of the time that noise lower by a factor e is worth.

    Returns:
        Beside integer operators, little of their noise; else what is worth bytes at that rate.
    """
    return _SHARE * (noise + _FLOOR) if noise is not None else tolerable(rate)


@dataclass(frozen=True)
class StoreInt8:
    """Stores a float weight as int8.

    Attributes:
        name: Name of the weight.
    """

    name: str

    def apply(self, model: Model) -> bool:
        """Store it; False if it is there no more."""
        return bool(store_named(model, {self.name}))


class Storable:
    """The float weights of a model, and its other large float constants, that may become int8.

    Each is rounded by itself to see what it costs, once somebody asks.
    """

    def __init__(self, model: Model, without: Set[int], ctx: Context) -> None:
        """Find them.

        Args:
            model: In float; not changed.
            without: Nodes, by id, whose weights stay as they are.
            ctx: Has the data.
        """
        self._model, self._ctx = model, ctx
        self._untold: list[tuple[Node, str]] = []

        def skip(node: Node, code: str, why: str) -> None:
            if code in _TELLING and id(node) not in without:
                self._untold.append((node, f"its weight stays in float: {why}"))

        self.sites = [s for s in _sites(model, skip) if not _touches(s, without)]
        self._measured: list[tuple[Sequence[WeightSite], OutputHarm]] = []

    def moves(self, integers: Set[int], allowed: float) -> dict[str, Move]:
        """Return the moves of the weights that the outputs hardly notice, by name of the weight.

        The cheapest per byte are taken while they add no more noise than allowed.

        Args:
            integers: Nodes, by id, that are integer operators and have their weights as such.
            allowed: Noise over signal power that may be added, see `addable`.
        """
        found: dict[str, Move] = {}
        for group, harm in sorted(self._groups(integers), key=lambda pair: _per_byte(*pair)):
            allowed -= harm.noise
            if allowed < 0:
                break
            for site in group:
                name, size = site.value.name, site.array.size
                row = (harm.cost / len(group), size, 0.0)
                found[name] = Move(name, "int8", _SETTING, *row, edit=StoreInt8(name))
        return found

    def remark(self, integers: Set[int], stored: Container[str]) -> int:
        """Say of every weight that stays in float that it does, and return how many do.

        Args:
            integers: Nodes, by id, that are integer operators.
            stored: Names of weights that do not.
        """
        told = [pair for pair in self._untold if id(pair[0]) not in integers]
        why = "its weight stays in float: rounded to int8 it would cost too much"
        left = [s for s in self.sites if not _touches(s, integers) and s.value.name not in stored]
        for node, said in (*told, *((s.nodes[0], why) for s in left)):
            self._ctx.remark(Severity.NOTE, "float-weight", said, node)
        return len(told) + len(left)

    def _groups(self, integers: Set[int]) -> list[tuple[Sequence[WeightSite], OutputHarm]]:
        """Return weights of float operators that were measured together, and what they do."""
        sites = [s for s in self.sites if not _touches(s, integers)]
        known = {id(s) for group, _ in self._measured for s in group}
        fresh = grouped([s for s in sites if id(s) not in known], self._model, _MOST_VARIANTS)
        variants = {str(i): _rounded(group) for i, group in enumerate(fresh)}
        stage = "quant: rounding weights that stay float"
        harms = noise_of(self._model, variants, 0.0, self._ctx, stage, unmade=1.0)
        self._measured += zip(fresh, harms.values(), strict=True)
        wanted = {id(s) for s in sites}
        parts = ((g, [s for s in g if id(s) in wanted], harm) for g, harm in self._measured)
        return [(there, h.part(len(there) / len(group))) for group, there, h in parts if there]


def store_named(model: Model, names: Container[str]) -> list[dict[str, Any]]:
    """Store float weights of a model as int8.

    Args:
        model: Changed.
        names: Names of the weights.

    Returns:
        A row for the report of each weight.
    """
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
    sites += others(model, {id(s.value) for s in sites})
    return [s for s in sites if pays(s)]


def _per_byte(group: Sequence[WeightSite], harm: OutputHarm) -> float:
    return harm.noise / sum(s.array.nbytes for s in group)


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


def _touches(site: WeightSite, nodes: Set[int]) -> bool:
    return any(id(n) in nodes for n in site.nodes)
