"""Walking a model from its outputs to its inputs and writing down the gradients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ocompress.analysis.gradients import rules
from ocompress.analysis.gradients.concrete import Concrete, outer_reads
from ocompress.analysis.gradients.origins import amount_behind
from ocompress.analysis.gradients.registry import GradientRule, Gradients
from ocompress.analysis.gradients.tape import StoppedError, Tape
from ocompress.ir import DType, Model, Node, Value

_FLAT = ("Shape", "Size", "ArgMax", "ArgMin", "NonZero")
"""Operators whose result does not change with a small change of what they read."""


@dataclass(frozen=True)
class Backward:
    """A backward model and how to feed it.

    Attributes:
        model: From activations and seeds to gradients.
        taken: Name of the input by name of the forward value that it takes.
        seeds: Name of the input by name of the output of the forward model, or of the float that
            an output of integers is rounded from.
        gradients: Name of the output by name of the forward value.
        missing: Why a name has no gradient, in one sentence each.
    """

    model: Model
    taken: Mapping[str, str]
    seeds: Mapping[str, str]
    gradients: Mapping[str, str]
    missing: Mapping[str, str]


def reverse(model: Model, names: Sequence[str], concrete: Concrete, fixed: set[str]) -> Backward:
    """Build the backward model by reverse-mode differentiation, node by node.

    The method is Speelpenning, "Compiling Fast Partial Derivatives of Functions Given by
    Algorithms" (1980). A gradient that is not whole is not made: a value from which some path to
    a float output leads through an operator that has no rule is reported as missing, together
    with that operator.

    Args:
        model: Typed by inference and sorted; not changed.
        names: Values whose gradients are wanted.
        concrete: Shapes and arrays at the shapes of a feed.
        fixed: Names of the values that do not depend on what is fed.
    """
    walk = _Walk(model, names, concrete, fixed)
    for node in reversed(model.graph.nodes):
        walk.visit(node)
    return walk.finish(names)


class _Walk:
    """The state of the way back: gradients, and where they are cut."""

    def __init__(
        self, model: Model, names: Sequence[str], concrete: Concrete, fixed: set[str]
    ) -> None:
        self._model = model
        self._fixed = fixed
        self._values = _main_values(model)
        self._moved = _dependents(model, [n for n in names if n not in fixed])
        wanted = {n for n in self._moved if _is_float(self._values.get(n))}
        self._tape = Tape(concrete, model.opset, wanted)
        self._parts: dict[str, list[Value]] = {}
        self._live: set[str] = set()
        self._cut: dict[str, str] = {}
        self._seeds: dict[str, str] = {}
        for output in (amount_behind(v) or v for v in model.graph.outputs):
            if output.name in wanted and output.name not in self._seeds:
                seed = self._tape.seed(output)
                self._seeds[output.name] = seed.name
                self._add(output, seed)

    def visit(self, node: Node) -> None:
        """Pass the gradients of a node's outputs on to its inputs."""
        made = [v for v in node.outputs if v is not None and v.name in self._live]
        read = [v for v in outer_reads(node) if v.name in self._moved]
        if not made or not read or _is_flat(node):
            return
        why = next((self._cut[v.name] for v in made if v.name in self._cut), "")
        if why:
            self._stop(read, why)
            return
        floats = [v for v in read if self._tape.wants(v)]
        self._live.update(v.name for v in read)
        try:
            if floats:
                self._differentiate(node, floats)
        except StoppedError as error:
            self._stop(read, f"no gradient passes through {node.op_type} {node.label!r}: {error}.")

    def finish(self, names: Sequence[str]) -> Backward:
        """Collect the gradients of the names."""
        gradients: dict[str, Value] = {}
        missing: dict[str, str] = {}
        for name in dict.fromkeys(names):
            why = self._why_missing(name)
            if why:
                missing[name] = why
            else:
                gradients[name] = self._gradient(name)
        shown = {n: self._shown(g) for n, g in gradients.items()}
        model = self._tape.finish(list({v.name: v for v in shown.values()}.values()))
        read = {v.name for v in model.graph.inputs}
        seeds = {n: fed for n, fed in self._seeds.items() if fed in read}
        outputs = {n: v.name for n, v in shown.items()}
        return Backward(model, self._tape.taken, seeds, outputs, missing)

    def _differentiate(self, node: Node, floats: Sequence[Value]) -> None:
        rule = _rule_of(node)
        reaching = [v is not None and v.name in self._parts for v in node.outputs]
        if not rule.every_output and (not reaching[0] or any(reaching[1:])):
            msg = "more than its first output is read"
            raise StoppedError(msg)
        for index, value in enumerate(node.inputs):
            if rule.inputs is not None and index not in rule.inputs and value in floats:
                msg = f"its input {index} is computed from the data"
                raise StoppedError(msg)
        pairs = zip(node.outputs, reaching, strict=True)
        given = [self._gradient(v.name) if v is not None and there else None for v, there in pairs]
        found: Gradients = rule.apply(self._tape, node, given)
        for value, gradient in zip(node.inputs, found, strict=False):
            if gradient is not None and value is not None and value in floats:
                self._add(value, gradient)

    def _add(self, value: Value, gradient: Value) -> None:
        self._live.add(value.name)
        self._parts.setdefault(value.name, []).append(gradient)

    def _stop(self, values: Sequence[Value], why: str) -> None:
        for value in values:
            self._live.add(value.name)
            self._cut.setdefault(value.name, why)

    def _gradient(self, name: str) -> Value:
        parts = self._parts[name]
        if len(parts) > 1:
            self._parts[name] = [self._tape.op("Sum", *parts)]
        return self._parts[name][0]

    def _shown(self, gradient: Value) -> Value:
        """Return what may be an output of the backward model, which an input may not."""
        return gradient if gradient.producer is not None else self._tape.op("Identity", gradient)

    def _why_missing(self, name: str) -> str:
        if name in self._cut:
            return self._cut[name]
        if name in self._parts:
            return ""
        if name not in self._values:
            inner = any(
                v is not None and v.name == name for _, n in self._model.nodes() for v in n.outputs
            )
            where = "in a body of control flow" if inner else "not in the model"
            return f"{name!r} is {where}."
        if name in self._fixed:
            return f"{name!r} does not depend on what is fed."
        if self._values[name].dtype is None:
            return f"the type of {name!r} is not known."
        if not _is_float(self._values[name]):
            return f"{name!r} is not of a float type."
        return f"no float output depends on {name!r}."


def _rule_of(node: Node) -> GradientRule:
    if node.bodies:
        msg = "it is control flow"
        raise StoppedError(msg)
    rule = rules.RULES.get(node.op_type) if not node.domain else None
    if rule is None:
        msg = "no rule is known"
        raise StoppedError(msg)
    if not any(_is_float(v) for v in node.outputs):
        msg = "it converts to integers"
        raise StoppedError(msg)
    return rule


def _is_flat(node: Node) -> bool:
    made = [v for v in node.outputs if v is not None]
    return node.is_op(*_FLAT) or all(v.dtype is DType.BOOL for v in made)


def _is_float(value: Value | None) -> bool:
    return value is not None and value.dtype is not None and value.dtype.is_float


def _main_values(model: Model) -> dict[str, Value]:
    graph = model.graph
    made = [v for n in graph.nodes for v in n.outputs if v is not None]
    return {v.name: v for v in [*graph.initializers.values(), *graph.inputs, *made]}


def _dependents(model: Model, names: Sequence[str]) -> set[str]:
    """Return the names and whatever in the main graph is computed from them."""
    moved = set(names)
    for node in model.graph.nodes:
        if any(v.name in moved for v in outer_reads(node)):
            moved.update(v.name for v in node.outputs if v is not None)
    return moved
