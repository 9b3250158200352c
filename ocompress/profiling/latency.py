"""Timing models side by side."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

_TURN_SECONDS = 0.01
"""A turn lasts about this long, so that caches and clocks settle on one model; less where all turns
together are to take less."""
_MOST_BURST = 256
_MOST_TURNS = 1000
_FEWEST_TURNS = 5
_SURE_TURNS = 2
"""Turns of each call before any can have lost."""

Clock = Callable[[], float]


@dataclass(frozen=True, slots=True)
class WallTimes:
    """Wall times of one model, milliseconds.

    Attributes:
        runs: Every timed run, shape [runs].
        turns: Median of each turn, shape [turns]; turn i of all models came in one block.
    """

    runs: np.ndarray
    turns: np.ndarray


def interleave(
    calls: Sequence[Callable[[], object]],
    *,
    seconds: float,
    warmup: int = 5,
    runs: int | None = None,
    seed: int = 0,
    clock: Clock = time.perf_counter,
    beaten: Callable[[Sequence[float]], Iterable[int]] | None = None,
) -> list[WallTimes]:
    """Time several calls in turns.

    Time is cut into blocks; in each block every call has one turn, in random order, and a turn is
    a burst of runs. A burst of several runs starts with one that is not counted, which brings the
    call's data back into the caches. The number of blocks follows from the time one block takes.

    Args:
        calls: What to time; each runs a model once.
        seconds: Time for each call, all its turns together; at least five turns are made.
        warmup: Runs of each call before the first block, not counted.
        runs: Timed runs of each call; rules over `seconds`.
        seed: Seeds the order.
        clock: Returns seconds.
        beaten: Given the median time of each call so far, in milliseconds, says which have lost:
            those take no more turns. It is asked from the second block on.

    Returns:
        The times of each call, in the order of `calls`.
    """
    once = [_warm(call, warmup, clock) for call in calls]
    turn = _TURN_SECONDS if runs is not None else min(_TURN_SECONDS, seconds / _FEWEST_TURNS)
    burst = max(1, min(_MOST_BURST, int(turn / max(*once, 1e-9, 1e-9))))
    if runs is not None:
        burst = max(1, min(burst, runs // _FEWEST_TURNS))
        blocks = -(-runs // burst)
    else:
        per_block = sum(once) * (burst + (burst > 1))
        wanted = seconds * len(calls) / max(per_block, 1e-9)
        blocks = max(_FEWEST_TURNS, int(min(_MOST_TURNS, wanted)))
    rng = np.random.default_rng(seed)
    turns: list[list[np.ndarray]] = [[] for _ in calls]
    deadline = float("inf") if runs is not None else clock() + seconds * len(calls)
    out: set[int] = set()
    for block in range(blocks):
        if block >= _SURE_TURNS and beaten is not None:
            out.update(beaten([_median(t) for t in turns]))
        if block >= _FEWEST_TURNS and clock() > deadline:
            break  # the machine is busier than it was while warming up
        for index in rng.permutation(len(calls)):
            if index not in out:
                turns[index].append(_turn(calls[index], burst, clock))
    return [
        WallTimes(np.concatenate(t)[:runs], np.array([float(np.median(turn)) for turn in t]))
        for t in turns
    ]


def _median(turns: Sequence[np.ndarray]) -> float:
    """Return the median of the medians of turns."""
    return float(np.median([np.median(turn) for turn in turns]))


def _warm(call: Callable[[], object], warmup: int, clock: Clock) -> float:
    """Run until warm; return the seconds of the fastest run."""
    fastest = float("inf")
    for _ in range(max(warmup, 1)):
        start = clock()
        call()
        fastest = min(fastest, clock() - start)
    return fastest


def _turn(call: Callable[[], object], burst: int, clock: Clock) -> np.ndarray:
    if burst > 1:
        call()
    times = np.empty(burst)
    for index in range(burst):
        start = clock()
        call()
        times[index] = clock() - start
    return times * 1000.0
