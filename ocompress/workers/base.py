"""What all workers have in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from types import TracebackType
from typing import Any, Protocol, Self

from ocompress.workers.parcels import Parcel

TRIES = 3
"""Workers that a call may lose before it is given up: it is likely what kills them."""


class Workers(Protocol):
    """A pool of workers, open from `with` to its end.

    Attributes:
        count: How many calls run at a time.
        here: Whether workers see the files of this machine.
        timers: How many of them may measure time.
    """

    count: int
    here: bool
    timers: int

    def submit(
        self, call: Callable[..., Any], *args: Any, timed: bool = False, near: Sequence[str] = ()
    ) -> Future[Any]:
        """Have a call run.

        Args:
            call: A function of a module.
            args: What it gets; all can be pickled. A `Parcel` goes to each worker once.
            timed: Whether it measures time: nothing else runs beside it, or, on a cluster, a
                worker runs it that says it may (`timer`).
            near: What it has in common with others, what matters most first: one worker does all
                that have the first of it in common if it can, as it knows much of it already, and
                of the rest what is nearest to what it knows.

        Returns:
            Its result, or what it raised; `WorkerLostError` if worker after worker died of it.
        """
        ...

    def __enter__(self) -> Self:
        """Begin."""
        ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End; calls that have not begun never will, and processes of this machine are cut off."""
        ...


def sent(args: tuple[Any, ...]) -> list[Parcel]:
    """Return the parcels among arguments."""
    return [arg for arg in args if isinstance(arg, Parcel)]
