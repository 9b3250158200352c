"""Reading equations of Einsum, and what they come down to: text, no graphs."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from ocompress.analysis.linear_layer import Refusal

_TERM = re.compile(r"[A-Za-z]*(?:\.\.\.[A-Za-z]*)?\Z")


class OddEquation(Exception):  # noqa: N818  (an answer, not an error)
    """The equation cannot be read, or is not a product; the refusal says why."""

    def __init__(self, refusal: Refusal) -> None:
        """Take the reason."""
        super().__init__(refusal.why)
        self.refusal = refusal


@dataclass(frozen=True)
class Equation:
    """An equation with a letter for every axis.

    Attributes:
        terms: Letters of the operands' axes, in order; axes of an ellipsis are numbered.
        result: Letters of the result's axes.
    """

    terms: tuple[tuple[str, ...], ...]
    result: tuple[str, ...]


def read(text: str, ranks: Sequence[int | None]) -> Equation:
    """Read an equation, implicit results and ellipses included.

    Args:
        text: The equation.
        ranks: Number of axes of each operand, None where it is not known; needed for an ellipsis.

    Raises:
        OddEquation: If it cannot be read.
    """
    left, arrow, right = text.replace(" ", "").partition("->")
    terms = left.split(",")
    if len(terms) != len(ranks) or not all(_TERM.match(t) for t in (*terms, right)):
        raise OddEquation(Refusal("odd-equation", f"the equation {text!r} cannot be read"))
    if not arrow:
        counts = Counter(left.replace(",", "").replace(".", ""))
        right = "..." * ("..." in left) + "".join(sorted(c for c, n in counts.items() if n == 1))
    spread = [_spread(t, rank) for t, rank in zip(terms, ranks, strict=True)]
    widest = max((t.count(".") for t in map("".join, spread)), default=0)
    named = tuple(_numbered(t, widest) for t in spread)
    result = _numbered(_opened(right, widest), widest)
    if len(set(result)) != len(result):
        raise OddEquation(Refusal("odd-equation", f"a letter repeats in the result of {text!r}"))
    if not set(result) <= {letter for term in named for letter in term}:
        raise OddEquation(Refusal("odd-equation", f"the result of {text!r} has letters of its own"))
    return Equation(named, result)


def _opened(term: str, axes: int) -> str:
    return term.replace("...", "." * axes)


def _spread(term: str, rank: int | None) -> str:
    """Write a dot for every axis that an ellipsis stands for."""
    letters = len(term.replace("...", ""))
    if "..." not in term:
        return term
    if rank is None:
        raise OddEquation(
            Refusal("unknown-rank", "the rank of an operand with an ellipsis is not known")
        )
    return _opened(term, max(0, rank - letters))


def _numbered(term: str, widest: int) -> tuple[str, ...]:
    """Give axes of an ellipsis names; as in broadcasting, the last ones belong together."""
    number, found = widest - term.count("."), []
    for letter in term:
        found.append(f".{number}" if letter == "." else letter)
        number += letter == "."
    return tuple(found)


@dataclass(frozen=True)
class Product:
    """A matrix product: what the axes of both operands and of the result are.

    The left operand is laid out as `alone + batch + (row,) + inner`, the right one as
    `batch + inner + columns`, and what they make as `alone + batch + (row,) + columns`.

    Attributes:
        batch: Axes of both operands and the result.
        inner: Axes that are summed over.
        alone: Axes of the left operand alone, but for the last of them.
        row: The last of them.
        columns: Axes of the right operand alone.
    """

    batch: tuple[str, ...]
    inner: tuple[str, ...]
    alone: tuple[str, ...]
    row: str
    columns: tuple[str, ...]

    @property
    def left(self) -> tuple[str, ...]:
        """Axes of the left operand as it is multiplied."""
        return (*self.alone, *self.batch, self.row, *self.inner)

    @property
    def right(self) -> tuple[str, ...]:
        """Axes of the right operand as it is multiplied."""
        return (*self.batch, *self.inner, *self.columns)

    @property
    def made(self) -> tuple[str, ...]:
        """Axes of what they make."""
        return (*self.alone, *self.batch, self.row, *self.columns)


def product(equation: Equation) -> Product:
    """See an equation of two operands as a matrix product.

    Raises:
        OddEquation: If it is none.
    """
    left, right = equation.terms
    result = set(equation.result)
    both = set(left) & set(right)
    lost = [a for a in (*left, *right) if a not in both and a not in result]
    if lost:
        raise OddEquation(
            Refusal("summed-operand", "it sums over an axis that one operand alone has")
        )
    rows = [a for a in left if a not in both]
    columns = tuple(a for a in right if a not in both)
    inner = tuple(a for a in left if a in both and a not in result)
    if not inner or not rows or not columns:
        raise OddEquation(
            Refusal("no-product", "its operands are not matrices that are multiplied")
        )
    batch = tuple(a for a in equation.result if a in both)
    return Product(batch, inner, tuple(rows[:-1]), rows[-1], columns)
