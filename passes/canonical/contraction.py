"""Operands of an Einsum on their way to products of matrices."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ocompress.analysis.linear_layer import LARGEST_COPY, Refusal
from ocompress.ir import DType, Graph, Value
from passes.canonical.einsum import Equation, OddEquation, Product, product
from passes.canonical.einsum_chain import ContractionStep, Term, chain


@dataclass(frozen=True)
class Operand:
    """What is multiplied.

    Attributes:
        value: The value; of a derived constant, one that it was made of.
        term: Letters of its axes.
        array: Its numbers, if it is constant.
        derived: Whether the numbers are others than the value's, so that they must be stored.
    """

    value: Value
    term: Term
    array: np.ndarray | None = None
    derived: bool = False

    @property
    def stays(self) -> bool:
        """Whether another layout of a constant would make the file larger."""
        value = self.value
        shared = value.use_count > 1 and value.file_bytes > LARGEST_COPY
        return not self.derived and (shared or value.packed is not None)


def extents_of(operands: Sequence[Operand], equation: Equation) -> dict[str, int]:
    """Return the extents of axes, as far as they are known.

    Raises:
        OddEquation: If two operands contradict each other where that is no broadcasting of two.
    """
    extents: dict[str, int] = {}
    for operand in operands:
        shape = operand.value.shape
        if shape is None:
            continue
        if len(shape) != len(operand.term):
            why = f"{operand.value.name!r} has {len(shape)} axes, its term {len(operand.term)}"
            raise OddEquation(Refusal("odd-equation", why))
        for axis, extent in zip(operand.term, shape, strict=True):
            if isinstance(extent, int):
                known = extents.setdefault(axis, extent)
                if known != extent and (axis not in equation.result or len(operands) > 2):
                    raise OddEquation(Refusal("odd-equation", f"{axis!r} has two extents"))
    return extents


def contracted(operands: Sequence[Operand], result: Term) -> np.ndarray:
    """Return what constants make, computed in double precision and in their element type.

    Raises:
        OddEquation: If the element type cannot hold it.
    """
    arrays = [o.array for o in operands if o.array is not None]
    dtype = arrays[0].dtype
    numbers = {a: n for n, a in enumerate(dict.fromkeys(a for o in operands for a in o.term))}
    given: list[object] = []
    for operand, array in zip(operands, arrays, strict=True):
        exact = array if dtype.kind in "iu" else array.astype(np.float64)
        given += [exact, [numbers[a] for a in operand.term]]
    with np.errstate(over="ignore"):
        made = np.asarray(np.einsum(*given, [numbers[a] for a in result])).astype(dtype)  # type: ignore[call-overload]
    if dtype.kind == "f" and not np.isfinite(made).all():
        raise OddEquation(
            Refusal("overflow", "what its constants make is too large for their type")
        )
    return np.asarray(made, order="C")


@dataclass
class Contraction:
    """Operands that become one value, by one product of matrices or a chain of them.

    Attributes:
        graph: Where nodes are added.
        label: What their names start with.
        operands: With no letter twice in a term.
        result: Letters of the result's axes.
        dtype: Element type.
        extents: Extents of axes, as far as they are known.
        room: Numbers that constants may make more than they are.
    """

    graph: Graph
    label: str
    operands: Sequence[Operand]
    result: Term
    dtype: DType
    extents: Mapping[str, int]
    room: int

    def run(self) -> Value:
        """Add the nodes, once everything about them is known.

        Raises:
            OddEquation: If they are no products, or extents are not known; nothing was changed.
        """
        left = list(self.operands)
        planned: list[tuple[list[Operand], Operand, _Product | None]] = []
        for step in self._steps():
            pair = [left[step.left], left[step.right]]
            left = [o for at, o in enumerate(left) if at not in (step.left, step.right)]
            term = step.equation.result
            if all(o.array is not None for o in pair):
                left.append(Operand(pair[0].value, term, contracted(pair, term), derived=True))
                continue
            made = Value("made")
            made.set_type(self.dtype, tuple(self.extents.get(axis) for axis in term))
            left.append(Operand(made, term))
            found = None if step.product is None else _Product(step.product, term, self.extents)
            planned.append((pair, left[-1], found))
        return self._built(planned)

    def _steps(self) -> list[ContractionStep]:
        constant = [o.array is not None for o in self.operands]
        equation = Equation(tuple(o.term for o in self.operands), self.result)
        if len(self.operands) > 2:
            return chain(equation, constant, self.extents, self.room)
        order = (1, 0) if constant[0] and not constant[1] else (0, 1)
        equation = Equation(tuple(self.operands[at].term for at in order), self.result)
        return [ContractionStep(*order, equation, product(equation))]

    def _built(self, planned: Sequence[tuple[list[Operand], Operand, _Product | None]]) -> Value:
        for operand in self.operands:
            if operand.value.shape is None:  # an operator that nobody knows made it
                operand.value.set_type(self.dtype, (None,) * len(operand.term))
        built: dict[Value, Value] = {}
        for number, (pair, made, found) in enumerate(planned, 1):
            name = self.label if number == len(planned) else f"{self.label}_{number}"
            now = [replace(o, value=built.get(o.value, o.value)) for o in pair]
            value = found.build(self.graph, name, now) if found else self._scaled(name, *now)
            value.set_type(self.dtype, made.value.shape)
            built[made.value] = value
        return built[planned[-1][1].value]

    def _scaled(self, name: str, operand: Operand, by: Operand) -> Value:
        """Multiply by a constant that has some of the axes."""
        assert by.array is not None
        there = [axis for axis in operand.term if axis in by.term]
        factor = by.array.transpose([by.term.index(axis) for axis in there])
        shape = [self.extents[axis] if axis in there else 1 for axis in operand.term]
        stored = self.graph.constant(by.value.name, factor.reshape(shape))
        return self.graph.add_op("Mul", [operand.value, stored], name=f"{name}_scaled").output


@dataclass
class _Product:
    """A product of matrices of which everything is known before a node is added.

    Raises:
        OddEquation: If extents are not known that a Reshape needs.
    """

    product: Product
    result: Term
    extents: Mapping[str, int]

    def __post_init__(self) -> None:
        found = self.product
        self._split = self._target(found.made, len(found.columns))
        self._folded = [
            self._merged(0, found.left, len(found.left) - len(found.inner)),
            self._merged(1, found.right, len(found.batch)),
        ]

    def build(self, graph: Graph, name: str, operands: Sequence[Operand]) -> Value:
        """Add the nodes and return what they make."""
        found = self.product
        left, right = (
            self._laid_out(graph, f"{name}_{side}", operand, layout, target)
            for side, operand, layout, target in zip(
                ("left", "right"), operands, (found.left, found.right), self._folded, strict=True
            )
        )
        made = graph.add_op("MatMul", [left, right], name=f"{name}_matmul").output
        if self._split is not None:
            made = _reshaped(graph, made, self._split, f"{name}_split")
        perm = [found.made.index(axis) for axis in self.result]
        if perm != sorted(perm):
            attrs = {"perm": perm}
            made = graph.add_op("Transpose", [made], name=f"{name}_out", attrs=attrs).output
        return made

    def _target(self, layout: Term, last: int) -> list[int] | None:
        """Return what a Reshape needs to split the last axis, None if it stays one."""
        if last == 1:
            return None
        extents = [self.extents.get(axis) for axis in layout[-last:]]
        if sum(e is None for e in extents) > 1:
            raise OddEquation(Refusal("unknown-shape", "the extents of its result are not known"))
        lead = [0] * (len(layout) - last)
        return [*lead, *(-1 if e is None else e for e in extents)]

    def _merged(self, at: int, layout: Term, lead: int) -> list[int] | None:
        """Return what a Reshape needs so that inner axes are one, and columns are one."""
        inner, columns = self.product.inner, self.product.columns if at else ()
        if len(inner) == 1 and len(columns) <= 1:
            return None
        merged = [self._extent(inner), *([self._extent(columns)] if at else [])]
        if merged.count(-1) > 1 or any(not self.extents.get(a, 1) for a in layout):
            raise OddEquation(Refusal("unknown-shape", "the extents of its operands are not known"))
        return [*[0] * lead, *merged]

    def _extent(self, axes: Sequence[str]) -> int:
        if any(axis not in self.extents for axis in axes):
            return -1
        return math.prod(self.extents[axis] for axis in axes)

    def _laid_out(
        self, graph: Graph, name: str, operand: Operand, layout: Term, target: list[int] | None
    ) -> Value:
        perm = [operand.term.index(axis) for axis in layout]
        same = perm == sorted(perm)
        value = operand.value
        if operand.array is not None and not operand.stays:
            turned = np.ascontiguousarray(operand.array.transpose(perm))
            if target is not None:
                turned = turned.reshape([e or turned.shape[i] for i, e in enumerate(target)])
            if same and target is None and not operand.derived:
                return value
            return graph.constant(value.name, turned)
        if not same:
            value = graph.add_op("Transpose", [value], name=name, attrs={"perm": perm}).output
        return value if target is None else _reshaped(graph, value, target, name)


def _reshaped(graph: Graph, value: Value, target: list[int], name: str) -> Value:
    shape = graph.constant(f"{name}_shape", np.asarray(target, np.int64))
    return graph.add_op("Reshape", [value, shape], name=name).output
