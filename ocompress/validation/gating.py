"""Judging what a validation found by the limits of a gate."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from ocompress.errors import RecipeError
from ocompress.ir import Model
from ocompress.validation.footprint import Footprint
from ocompress.validation.gate import FOOTPRINT_LIMITS, OUTPUT_LIMITS, Gate
from ocompress.validation.measures import LossUnit
from ocompress.validation.result import Check, LevelResult, OutputComparison
from ocompress.validation.unit_limits import DEFAULT_DROP, DropLimit

_UNMEASURED = "was not measured"
_ROUNDING = 1e-9
"""Slack for figures that are differences of shares: 0.99 - 0.98 must be within 0.01."""


def judge(
    gate: Gate,
    candidate: Model,
    levels: Sequence[LevelResult],
    between: Sequence[OutputComparison],
    footprint: Footprint,
) -> tuple[Check, ...]:
    """Return one check per limit, in the order of the gate's fields.

    Args:
        gate: The limits.
        candidate: What is judged.
        levels: How it compares with the reference, per optimization level.
        between: How its last level compares with its first, per output.
        footprint: What it takes.

    Raises:
        RecipeError: If the gate names an output that the model does not have.
    """
    names = [v.name for v in candidate.graph.outputs]
    for name in gate.outputs:
        if name not in names:
            msg = (
                f"gate file {gate.source!r}: the model has no output {name!r} "
                f"(it has {', '.join(names)})"
            )
            raise RecipeError(msg)
    checks = list(_output_checks(gate, names, levels, between))
    if gate.max_drop is not None:
        checks.append(_drop(DropLimit(gate.max_drop, reserve=False), levels))
    for limit_name in FOOTPRINT_LIMITS:
        limit = getattr(gate, limit_name)
        if limit is not None:
            taken = getattr(footprint, limit_name.removeprefix("max_"))
            checks.append(_check(limit_name, limit, taken))
    return (*checks, *_opset_checks(gate, candidate))


def _output_checks(
    gate: Gate,
    names: Sequence[str],
    levels: Sequence[LevelResult],
    between: Sequence[OutputComparison],
) -> Iterable[Check]:
    for limit_name in OUTPUT_LIMITS:
        for name in names:
            limit = gate.limit(limit_name, name)
            if limit is None:
                continue
            if limit_name == "min_level_sqnr_db":
                values = [o.sqnr_db for o in between if o.name == name]
            else:
                found = [o for level in levels for o in level.outputs if o.name == name]
                values = _values(limit_name, found)
            worst = min if limit_name.startswith("min_") else max
            yield _check(f"{limit_name}[{name}]", limit, worst(values, default=None))


def _values(limit_name: str, found: Sequence[OutputComparison]) -> list[float]:
    if limit_name == "min_agreement":
        return [o.agreement.value for o in found if o.agreement is not None]
    field = limit_name if limit_name == "max_abs_error" else limit_name.partition("_")[2]
    return [float(getattr(o, field)) for o in found]


def loss_check(levels: Sequence[LevelResult], limit: float | None) -> Check | None:
    """Return the check of what a candidate lost, where no gate says what it may lose.

    Args:
        levels: How it compares with the reference, per optimization level.
        limit: What it may lose; None is what `optimize` allows where nobody says how much.

    Returns:
        None where nothing was measured, and where only the user could say what is much.
    """
    own = [s.name for level in levels if (s := level.score) is not None and ":" in s.name]
    if not levels or (limit is None and own):
        return None
    if limit is not None:
        return _drop(DropLimit(limit, reserve=False), levels)
    found = _drop(DropLimit(DEFAULT_DROP, default=True, reserve=False), levels)
    why = f"{found.message} (the default; set another with --max-drop)"
    return None if found.value is None else replace(found, message=why)


def _drop(limit: DropLimit, levels: Sequence[LevelResult]) -> Check:
    """Return the check of the score, or of the output that lost most for its unit."""
    scores = [level.score for level in levels if level.score is not None]
    if scores:
        lost = max(scores, key=lambda score: score.drop.value)
        return _check("max_drop", limit.whole(None), lost.drop.value, f" of {lost.name}")
    losses = [loss for level in levels for output in level.outputs for loss in output.losses]
    most = limit.worst(losses)
    if most is None:
        return _check("max_drop", limit.points, None)
    unit = LossUnit(most.unit)
    return _check("max_drop", limit.whole(unit), most.drop.value, f" of {unit.noun}")


def _opset_checks(gate: Gate, candidate: Model) -> Iterable[Check]:
    if gate.min_opset is not None:
        yield _check("min_opset", gate.min_opset, candidate.opset)
    if gate.max_opset is not None:
        yield _check("max_opset", gate.max_opset, candidate.opset)


def _check(name: str, limit: float, value: float | None, what: str = "") -> Check:
    least = name.startswith("min_")
    if value is None:
        return Check(name, False, limit, None, f"{name} is limited but {_UNMEASURED}")
    compare: Callable[[float, float], bool] = operator.ge if least else operator.le
    slack = -_ROUNDING if least else _ROUNDING
    passed = compare(value, limit + slack)  # NaN compares false both ways
    relation = "at least" if least else "at most"
    message = f"{name}{what} is {_shown(value)}, allowed is {relation} {_shown(limit)}"
    return Check(name, passed, limit, value, message)


def _shown(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.6g}"
