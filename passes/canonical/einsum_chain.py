"""In which order an Einsum of several operands is multiplied, pair by pair: terms, no graphs."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ocompress.analysis.linear_layer import Refusal
from passes.canonical.einsum import Equation, OddEquation, Product, product

MOST = 5
"""Operands of which every order is looked at."""
_OPEN = 32
"""What an extent counts that is not known; as a rule it is a batch, or the length of a sequence."""

Term = tuple[str, ...]


@dataclass(frozen=True)
class Factor:
    """An operand, or what a step made.

    Attributes:
        term: Letters of its axes.
        constant: Whether it is known beforehand.
    """

    term: Term
    constant: bool


@dataclass(frozen=True)
class ContractionStep:
    """Two factors become one.

    Attributes:
        left: Position of a factor among those that are left.
        right: Position of the other one; what both make is put at the end.
        equation: What is made of them.
        product: Their matrix product; None where both are constant and one is made of them, or
            where a constant scales an activation.
    """

    left: int
    right: int
    equation: Equation
    product: Product | None


def chain(
    equation: Equation, constant: Sequence[bool], extents: Mapping[str, int], room: int
) -> list[ContractionStep]:
    """Return the steps that take the fewest multiplications, and store the fewest numbers.

    Constants may be multiplied with each other, since that is done once, unless there is no room
    for what they make.

    Args:
        equation: With no letter twice in a term.
        constant: Which operands are constant.
        extents: Extents of axes, as far as they are known.
        room: Numbers that constants may make more than they are.

    Raises:
        OddEquation: If no order makes each step a product of matrices.
    """
    if len(constant) > MOST:
        why = f"it has {len(constant)} operands, for whose order there are too many choices"
        raise OddEquation(Refusal("operands", why))
    factors = [Factor(t, c) for t, c in zip(equation.terms, constant, strict=True)]
    size = _Sizes(extents, room)
    found = min(_orders(factors, equation.result, size), key=lambda order: order[0], default=None)
    if found is None:
        why = "no order multiplies its operands, two by two, as matrices"
        raise OddEquation(Refusal("operands", why))
    return found[1]


@dataclass(frozen=True)
class _Sizes:
    extents: Mapping[str, int]
    room: int

    def of(self, letters: set[str] | Term) -> int:
        return math.prod(self.extents.get(letter, _OPEN) for letter in letters)


_Cost = tuple[int, int, int]
"""Multiplications, stored numbers and transpositions."""


def _orders(
    factors: list[Factor], result: Term, size: _Sizes
) -> Iterator[tuple[_Cost, list[ContractionStep]]]:
    if len(factors) == 1:
        if factors[0].term == result:
            yield (0, 0, 0), []
        return
    for at in itertools.permutations(range(len(factors)), 2):
        rest = [f for n, f in enumerate(factors) if n not in at]
        for step, cost in _steps(at, factors, rest, result, size):
            made = Factor(step.equation.result, all(factors[n].constant for n in at))
            for later, steps in _orders([*rest, made], result, size):
                work, stored, turned = (x + y for x, y in zip(cost, later, strict=True))
                yield (work, stored, turned), [step, *steps]


def _steps(
    at: tuple[int, int], factors: list[Factor], rest: list[Factor], result: Term, size: _Sizes
) -> Iterator[tuple[ContractionStep, _Cost]]:
    """Yield the one step there is for two factors in this order, if any, with its cost."""
    (left, fixed), (right, known) = ((factors[n].term, factors[n].constant) for n in at)
    wanted = {*result, *(letter for f in rest for letter in f.term)}
    kept = tuple(a for a in dict.fromkeys((*left, *right)) if a in wanted) if rest else result
    equation = Equation((left, right), kept)
    if fixed and known:
        stored = size.of(left) + size.of(right)
        told = all(letter in size.extents for letter in (*left, *right))
        if at[0] < at[1] and told and size.of(kept) <= stored + size.room:
            yield ContractionStep(*at, equation, None), (0, size.of(kept) - stored, 0)
    elif known and set(right) <= set(left) and kept == left:
        yield ContractionStep(*at, equation, None), (size.of(left), 0, 0)
    elif not fixed:  # a constant is multiplied from the right
        found = _product(equation)
        if found is not None and rest:  # as it is made: no Transpose has to follow
            equation = Equation((left, right), found.made)
            found = _product(equation)
        if found is not None:
            turned = (left != found.left) + (not known and right != found.right)
            turned += equation.result != found.made
            yield ContractionStep(*at, equation, found), (size.of({*left, *right}), 0, turned)


def _product(equation: Equation) -> Product | None:
    try:
        return product(equation)
    except OddEquation:
        return None
