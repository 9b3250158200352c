"""Limits and plans as the options of several commands mean them together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ocompress.errors import OptionError

if TYPE_CHECKING:
    from ocompress.front import Budget, Planning, PlanOptions
    from ocompress.front.limits import GivenLimit

_NAMES = {
    "goal": "--for",
    "time": "--time",
    "families": "--families",
    "max_memory": "--max-memory",
    "compare": "--compare",
    "tune": "--tune",
    "workers": "--workers",
    "scheduler": "--scheduler",
}
"""What plans' options are called here."""


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


def planning_if(auto: bool, options: PlanOptions, *, allow_slower: bool) -> Planning | None:
    """Return how a plan is looked for, None where none is asked for.

    Raises:
        OptionError: If options are for plans only, make no sense, or contradict one.
    """
    if not auto:
        options.refuse("--auto", _NAMES)
        return None
    if allow_slower and options.goal == "latency":
        msg = "a plan for latency makes the model faster; leave out --allow-slower, or give --for"
        raise OptionError(msg)
    return options.planning()


def plan_options(
    goal: str,
    time: str,
    families: str,
    max_memory: str,
    compare: Sequence[Path] | None,
    tune: bool,
    workers: int,
    scheduler: str,
) -> PlanOptions:
    """Return the options of plans, each of which may be left out."""
    from ocompress.front import PlanOptions

    names = [name.strip() for name in families.split(",")] if families.strip() else []
    given: dict[str, Any] = {"goal": goal, "time": time, "max_memory": max_memory}
    given = {name: value for name, value in given.items() if value}
    return PlanOptions(
        **given,
        families=tuple(names),
        compare=tuple(compare or ()),
        tune=tune,
        workers=workers,
        scheduler=scheduler,
    )
