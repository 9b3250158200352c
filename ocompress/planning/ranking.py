"""What came second in a choice of moves, and why it lost.

A choice that is best within a limit on a resource puts a price on it: every move that was taken has
the least of error plus price times resource among those of its part (Everett, Generalized Lagrange
multiplier method, 1963). What comes second in a part is what would have been taken next.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from ocompress.planning.moves import KEEP, Move, MoveTable, Resource

_UNITS = {"bytes": "bytes", "macs": "multiply-adds", "ms": "ms"}
_TINY = 1e-300


def runners_up(table: MoveTable, choice: Mapping[str, int], by: Resource) -> list[dict[str, str]]:
    """Return a line for every part that could have become something else.

    Args:
        table: The moves.
        choice: Position of the move that each part got; parts that are not there stay as they are.
        by: What moves save.

    Returns:
        Rows for reports: `name`, `chosen`, `second`, and `why` the second one lost.
    """
    price = _price(table, choice, by)
    found = []
    for part, rows in table.rows.items():
        taken = choice.get(part, 0)
        others = [at for at in table.open(part) if at != taken]
        lost = [at for at in range(len(rows)) if at != taken and at not in others]
        ranked = sorted(others or lost, key=lambda at: rows[at].error + price * rows[at].of(by))
        if not ranked:
            continue
        second = ranked[0]
        why = table.lost.get((part, second)) or compared(rows[taken], rows[second], by)
        names = {"chosen": called(rows[taken]), "second": called(rows[second])}
        found.append({"name": part, **names, "why": why})
    return found


def called(move: Move) -> str:
    """Return what people call a move."""
    if move.method == KEEP:
        return "as it is"
    return ", ".join(text for text in (move.method, move.setting) if text)


def compared(taken: Move, second: Move, by: Resource) -> str:
    """Say why one move lost against another one of its part.

    Args:
        taken: The one that was taken.
        second: The one that was not.
        by: What moves save.
    """
    more = second.of(by) - taken.of(by)
    errors = f"error {second.error:.2g}, not {taken.error:.2g}"
    size = f"{_short(abs(more))} {_UNITS[by]}"
    if second.error >= taken.error:
        return (
            f"saves {size} more, but {errors}" if more < 0 else f"saves nothing more, and {errors}"
        )
    if more > 0:
        return f"saves {size} less: {errors}, is not worth that"
    return f"saves as much or more, {errors}, but a limit held it off"


def _short(value: float) -> str:
    """Return a number with three digits and a decimal prefix."""
    for size, prefix in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if value >= 0.9995 * size:
            return f"{value / size:.3g}{prefix}"
    return f"{value:.3g}"


def _price(table: MoveTable, choice: Mapping[str, int], by: Resource) -> float:
    """Return the error that a unit of the resource is worth, as far as the choice tells."""
    low, high = 0.0, math.inf
    for part, rows in table.rows.items():
        for up, slope in _slopes(rows, choice.get(part, 0), table.open(part), by):
            low, high = (low, min(high, slope)) if up else (max(low, slope), high)
    if math.isinf(high):
        return low
    return math.sqrt(low * high) if low > 0 else high / 2


def _slopes(
    rows: Sequence[Move], taken: int, there: Sequence[int], by: Resource
) -> Iterator[tuple[bool, float]]:
    """Yield the prices at which a move would be as good as another, and whether it saves more."""
    for at in there:
        more = rows[at].of(by) - rows[taken].of(by)
        worse = rows[at].error - rows[taken].error
        if more * worse < 0:
            yield more < 0, -worse / more
