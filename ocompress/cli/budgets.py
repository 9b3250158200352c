"""Limits and plans as the options of several commands mean them together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ocompress.errors import OptionError

if TYPE_CHECKING:
    from ocompress.front import Budget, Planning
    from ocompress.front.limits import GivenLimit


def budget_of(
    max_drop: str | None,
    metric: str,
    confidence: float | None,
    latency: GivenLimit,
    size: GivenLimit,
) -> Budget:
    """Return the limits as one object.

    Raises:
        OptionError: If one makes no sense.
    """
    from ocompress.front import Budget

    return Budget(
        max_drop=max_drop,
        metric=metric,
        confidence=confidence,
        max_latency_ratio=latency.ratio,
        max_latency_ms=latency.absolute,
        max_size_ratio=size.ratio,
        max_bytes=size.absolute,
    )


def limit_on_latency(
    given: float | str | None, target: str, allow_slower: bool, no_profile: bool
) -> GivenLimit:
    """Return the limit on latency that the options mean together.

    Raises:
        OptionError: If they contradict each other.
    """
    from ocompress.front.limits import latency_limit

    reasons = {
        "--allow-slower": allow_slower,
        "--no-profile": no_profile,
        f"--target {target}, which cannot be timed here": target != "host",
    }
    for reason, there in reasons.items():
        if given and there:
            msg = f"--max-latency contradicts {reason}; leave one of them out"
            raise OptionError(msg)
    return latency_limit(None if allow_slower or no_profile else given or 1.0)


def limit_on_size(given: str, allow_larger: bool) -> GivenLimit:
    """Return the limit on size that the options mean together.

    Raises:
        OptionError: If they contradict each other.
    """
    from ocompress.front.limits import size_limit

    if given and allow_larger:
        msg = "--max-size contradicts --allow-larger; leave one of them out"
        raise OptionError(msg)
    return size_limit(None if allow_larger else given or 1.0)


def planning_of(goal: str, time: str, families: str, max_memory: str) -> Planning:
    """Return how a plan is looked for.

    Raises:
        OptionError: If an option makes no sense.
    """
    from ocompress.front import PLAN_SECONDS, Planning, goal_named
    from ocompress.front.limits import duration, memory_limit

    names = [name.strip() for name in families.split(",")] if families.strip() else []
    return Planning(
        goal=goal_named(goal or "latency"),
        seconds=duration(time) if time else PLAN_SECONDS,
        families=tuple(names),
        max_memory=memory_limit(max_memory or None),
    )


def with_peers(planning: Planning | None, compare: Sequence[Path] | None) -> Planning | None:
    """Return how a plan is looked for, with models to compare it with.

    Raises:
        OptionError: If no plan is asked for.
    """
    if not compare:
        return planning
    if planning is None:
        msg = "--compare is for plans; give --auto, or leave it out"
        raise OptionError(msg)
    return replace(planning, compare=tuple(compare))


def planning_if(
    auto: bool, goal: str, time: str, families: str, max_memory: str, *, allow_slower: bool
) -> Planning | None:
    """Return how a plan is looked for, None where none is asked for.

    Raises:
        OptionError: If options are for plans only, or contradict one.
    """
    given = {"--for": goal, "--time": time, "--families": families, "--max-memory": max_memory}
    if not auto:
        for name, value in given.items():
            if value:
                msg = f"{name} is for plans; give --auto, or leave it out"
                raise OptionError(msg)
        return None
    if allow_slower and goal in ("", "latency"):
        msg = "a plan for latency makes the model faster; leave out --allow-slower, or give --for"
        raise OptionError(msg)
    return planning_of(goal, time, families, max_memory)
