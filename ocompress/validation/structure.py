"""Checks that need no data: the ONNX checker, the interface, operator domains and opset."""

from __future__ import annotations

from collections.abc import Iterable

from ocompress.errors import InvalidModelError
from ocompress.ir import Dim, Model, Value, to_proto
from ocompress.ir.onnx_api import check, external_stub
from ocompress.stopping import temporary_folder
from ocompress.validation.result import Check

_STANDARD = "ai.onnx"
_WHOLE_BELOW = 1 << 26
"""Bytes of weights below which the checker gets them; above, it gets types and shapes."""


def structure_checks(
    reference: Model,
    candidate: Model,
    allowed_domains: Iterable[str] | None = None,
    *,
    declared: Iterable[str] = (),
) -> list[Check]:
    """Check what can be said without running anything.

    Args:
        reference: The original; what it breaks itself is not held against the candidate.
        candidate: What became of it.
        allowed_domains: Operator domains allowed beside `ai.onnx`; by default `ai.onnx.ml` and
            those the reference uses.
        declared: What is allowed by default beside these, for whoever made the candidate says that
            it may be there.
    """
    checks = [_checker(reference, candidate)]
    checks += [Check("inputs", *_inputs(reference, candidate))]
    checks += [Check("outputs", *_outputs(reference, candidate))]
    if allowed_domains is None:
        allowed_domains = {"ai.onnx.ml", *reference.domains(), *declared}
    return [*checks, _domains(candidate, {_STANDARD, *(d or _STANDARD for d in allowed_domains)})]


def _domains(candidate: Model, allowed: set[str]) -> Check:
    used = sorted(candidate.domains())
    strange = [d for d in used if d not in allowed]
    message = "every operator is of an allowed domain"
    if strange:
        message = (
            f"operators of {', '.join(map(repr, strange))} are not allowed; a gate may name them"
        )
    limit, value = ", ".join(sorted(allowed)), ", ".join(used)
    return Check("domains", not strange, limit, value, message)


def _checker(reference: Model, candidate: Model) -> Check:
    refusal = _refusal(candidate)
    if not refusal:
        return Check("checker", True, message="the ONNX checker accepts the model")
    if _refusal(reference):
        return Check("checker", True, message=f"{refusal}; the reference is refused too")
    return Check("checker", False, message=refusal)


def _refusal(model: Model) -> str:
    """Return what the ONNX checker says against a model, empty when it accepts it."""
    try:
        if model.weight_bytes < _WHOLE_BELOW:
            check(to_proto(model))
        else:
            _check_stubs(model)
    except InvalidModelError as error:
        return str(error)
    return ""


def _check_stubs(model: Model) -> None:
    """Check a large model without copying its weights: they become a hole in a file."""
    largest = max((w.nbytes for w in model.weights()), default=0)
    with temporary_folder() as folder:
        with (folder / "weights").open("wb") as hole:
            hole.truncate(largest)
        path = folder / "model.onnx"
        path.write_bytes(to_proto(model, external_stub).SerializeToString())
        check(path)


def _inputs(reference: Model, candidate: Model) -> tuple[bool, None, None, str]:
    old = {v.name: v for v in reference.graph.inputs}
    new = {v.name: v for v in candidate.graph.inputs}
    wrong = [
        f"input {name!r} is gone" for name, v in old.items() if v.data is None and name not in new
    ]
    wrong += [
        f"input {name!r} is new" for name, v in new.items() if v.data is None and name not in old
    ]
    wrong += [
        f"input {name!r} {why}"
        for name, v in new.items()
        if name in old and (why := _misfit(old[name], v, free=True))
    ]
    return not wrong, None, None, "; ".join(wrong) or f"kept: {len(new)}"


def _outputs(reference: Model, candidate: Model) -> tuple[bool, None, None, str]:
    old, new = list(reference.graph.outputs), list(candidate.graph.outputs)
    names = [v.name for v in old], [v.name for v in new]
    if names[0] != names[1]:
        message = f"outputs were {', '.join(names[0])} and are {', '.join(names[1])}"
        return False, None, None, message
    wrong = [
        f"output {a.name!r} {why}"
        for a, b in zip(old, new, strict=True)
        if (why := _misfit(a, b, free=False))
    ]
    return not wrong, None, None, "; ".join(wrong) or f"kept: {len(new)}"


def _misfit(old: Value, new: Value, *, free: bool) -> str:
    """Say how the type changed for the worse, empty when it did not.

    An extent that was free must stay free, one that was fixed must stay as it is; an input may
    become free where it was fixed, an output known where it was unknown.
    """
    if old.dtype is not None and new.dtype is not None and old.dtype != new.dtype:
        return f"was {old.dtype.name.lower()} and is {new.dtype.name.lower()}"
    if old.shape is None or new.shape is None:
        lost = old.shape is not None and not free
        return "has lost its declared shape" if lost else ""
    same = len(old.shape) == len(new.shape) and all(
        _extent_kept(a, b, free) for a, b in zip(old.shape, new.shape, strict=True)
    )
    return "" if same else f"had shape {_shown(old.shape)} and has {_shown(new.shape)}"


def _extent_kept(old: Dim, new: Dim, free: bool) -> bool:
    if isinstance(old, int):
        return old == new or (free and not isinstance(new, int))
    return not isinstance(new, int) or (old is None and not free)


def _shown(shape: tuple[Dim, ...]) -> str:
    return "[" + ", ".join("?" if d is None else str(d) for d in shape) + "]"
