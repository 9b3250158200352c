"""A model as a list of steps, for feeds of certain shapes."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ocompress.analysis.gradients.concrete import Concrete, fixed_values, outer_reads
from ocompress.errors import OcompressError
from ocompress.io.dataset import Feeds
from ocompress.ir import Model, Node, Value
from ocompress.training.dtypes import to_held, torch_type
from ocompress.training.opaque import Opaque
from ocompress.training.registry import Call, Extents, Function, Rule, UnsupportedError, rule_of


@dataclass(frozen=True)
class _Step:
    """One node: what computes it, and the places of what it reads, makes and leaves unread."""

    function: Function
    reads: tuple[int, ...]
    makes: tuple[int, ...]
    done_with: tuple[int, ...]
    many: bool


class _Late:
    """A node whose function depends on what is computed before it: one per shapes and numbers."""

    def __init__(self, rule: Rule, call: Call, static: Collection[int], opaque: Opaque) -> None:
        self._rule, self._call, self._static = rule, call, static
        self._opaque = opaque
        self._made: dict[object, Function] = {}

    def __call__(self, *given: Tensor | None) -> Any:
        shapes = tuple(None if t is None else tuple(t.shape) for t in given)
        numbers = tuple(
            t.numpy(force=True).tobytes() if t is not None and i in self._static else b""
            for i, t in enumerate(given)
        )
        key = shapes, numbers
        if key not in self._made:
            self._made[key] = self._build(given, shapes)
        return self._made[key](*given)

    def _build(
        self, given: tuple[Tensor | None, ...], shapes: tuple[Extents | None, ...]
    ) -> Function:
        arrays = list(self._call.arrays)
        for index in self._static:
            tensor = given[index] if index < len(given) else None
            if tensor is not None:
                arrays[index] = tensor.numpy(force=True)
        call = replace(self._call, shapes=shapes, arrays=tuple(arrays), made=())
        try:
            return self._rule.build(call)
        except UnsupportedError as error:
            if not any(t is not None and t.requires_grad for t in given):
                return _of_inputs(call.node, self._opaque)
            msg = f"node {call.node.label!r} ({call.node.op_type}) has no gradient here: {error}"
            raise OcompressError(msg) from error


def _of_inputs(node: Node, opaque: Opaque) -> Function:
    """Return a function that takes a tensor for each input of a node, as rules' functions do."""
    first = {id(v): i for i, v in reversed(list(enumerate(node.inputs))) if v is not None}
    places = [first[id(v)] for v in opaque.reads]
    return lambda *given: opaque(*(given[i] for i in places))


class TrainableProgram:
    """The steps of a model.

    Attributes:
        opaque: Nodes that ONNX Runtime runs.
    """

    def __init__(
        self,
        model: Model,
        feeds: Feeds,
        varying: Collection[str],
        *,
        floating: torch.dtype,
        threads: int,
    ) -> None:
        """Turn nodes into steps, once for all runs.

        Args:
            model: Typed by inference and sorted; not changed.
            feeds: Any feed of the shapes.
            varying: Initializers that are handed over with each run.
            floating: The type that floats are computed in.
            threads: Threads of what ONNX Runtime runs.

        Raises:
            RuntimeFailureError: If ONNX Runtime cannot run the model.
        """
        self.opaque: list[Node] = []
        self._model, self._floating, self._threads = model, floating, threads
        self._concrete = Concrete.measure(model, feeds, varying)
        self._fixed = fixed_values(model, feeds, varying)
        self._unsettled: set[str] = set()  # values whose shapes the inputs' shapes do not decide
        self._places: dict[str, int] = {}
        self._steps = self._with_ends([self._step(node) for node in self._live()])
        self._begin: list[Tensor | None] = [None] * (len(self._places) + 1)
        for name, at in self._places.items():
            if name in self._concrete.arrays:
                self._begin[at] = to_held(self._concrete.arrays[name], floating)
        self._given = {n: self._places[n] for n in (*feeds, *varying) if n in self._places}

    def run(self, given: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Compute the outputs.

        Args:
            given: A tensor per input of the model and per varying initializer.
        """
        held: list[Any] = self._begin.copy()
        for name, at in self._given.items():
            held[at] = given[name]
        for step in self._steps:
            made = step.function(*[held[at] for at in step.reads])
            for at in step.done_with:
                held[at] = None
            if step.many:
                for at, one in zip(step.makes, made, strict=False):
                    held[at] = one
            else:
                held[step.makes[0]] = made
        return {v.name: held[self._places[v.name]] for v in self._model.graph.outputs}

    def _live(self) -> list[Node]:
        """Return the nodes that an output needs and that shapes alone do not decide."""
        wanted = {v.name for v in self._model.graph.outputs}
        for name in wanted:
            self._place(name)
        found = []
        for node in reversed(self._model.graph.nodes):
            made = [v.name for v in node.outputs if v is not None]
            if not wanted.isdisjoint(made) and not self._fixed.issuperset(made):
                found.append(node)
                wanted.update(v.name for v in outer_reads(node))
        return found[::-1]

    def _place(self, name: str) -> int:
        return self._places.setdefault(name, len(self._places) + 1)  # 0 is what is omitted

    def _step(self, node: Node) -> _Step:
        rule = rule_of(node, self._model.opset)
        values: list[Value | None] = list(node.inputs)
        made: list[Value | None] = list(node.outputs)
        function = None if rule is None else self._function(node, rule)
        many = len(made) > 1 or node.is_op("Split", "Dropout", "LSTM", "GRU", "RNN")
        if function is None:
            opaque = self._opaque(node)
            function, values, made = opaque, list(opaque.reads), list(opaque.makes)
            many = len(made) > 1
            self.opaque.append(node)
            self._unsettled.update(v.name for v in made if v is not None)
        elif isinstance(function, _Late):
            self._unsettled.update(v.name for v in made if v is not None)
        reads = tuple(0 if v is None else self._place(v.name) for v in values)
        makes = tuple(0 if v is None else self._place(v.name) for v in made)
        return _Step(function, reads, makes, (), many)

    def _opaque(self, node: Node) -> Opaque:
        known = self._concrete.arrays
        return Opaque(self._model, node, known, self._floating, self._threads)

    def _function(self, node: Node, rule: Rule) -> Function | None:
        """Return what computes a node, None if its rule does not cover it."""
        names = [None if v is None else v.name for v in node.inputs]
        arrays = [None if n is None else self._concrete.arrays.get(n) for n in names]
        shapes = [None if n is None else self._concrete.shapes.get(n) for n in names]
        made = [None if v is None else self._concrete.shapes.get(v.name) for v in node.outputs]
        call = Call(
            node, self._model.opset, self._floating, tuple(shapes), tuple(arrays), tuple(made)
        )
        if not self._are_tensors(node):
            return None
        static = [i for i in rule.static if i < len(names) and names[i] and arrays[i] is None]
        late = any(n in self._unsettled for n in names) or static
        if any(n is not None and s is None for n, s in zip(names, shapes, strict=True)):
            return None
        if late:
            opaque = self._opaque(node)
            return _Late(rule, call, static, opaque)
        try:
            return rule.build(call)
        except UnsupportedError:
            return None

    def _are_tensors(self, node: Node) -> bool:
        try:
            for value in (*node.inputs, *node.outputs):
                if value is not None:
                    torch_type(value.dtype, self._floating)
        except UnsupportedError:
            return False
        return True

    def _with_ends(self, steps: list[_Step]) -> list[_Step]:
        """Note after which step nobody reads a value any more."""
        kept = {self._places[v.name] for v in self._model.graph.outputs} | {0}
        found = []
        for step in reversed(steps):
            ends = tuple(dict.fromkeys(at for at in step.reads if at not in kept))
            kept.update(ends)
            found.append(replace(step, done_with=ends))
        return found[::-1]
