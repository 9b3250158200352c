"""What plans are asked for."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ocompress.auto import TUNING, PlanGoal, chosen_families
from ocompress.errors import DataError, OptionError, UsageError
from ocompress.front.files import ModelLike
from ocompress.front.request import Request
from ocompress.io import model_files
from ocompress.workers import check_workers

SECONDS = 600.0
"""Time for a plan, unless the user says otherwise."""


@dataclass(frozen=True, kw_only=True)
class Planning:
    """How a plan is looked for.

    Attributes:
        goal: What is made small.
        seconds: Time that the whole takes about, at most.
        families: Names of the families that take part; none means all.
        max_memory: Bytes of memory that a run may take, None for any.
        compare: Other models with the same inputs and outputs, measured beside the trials.
        tune: Whether it may end with training, if there is time.
        workers: Processes of this machine that build models; 1 builds them in this one.
        scheduler: Address of a Dask scheduler whose workers build them; empty for this machine.
    """

    goal: PlanGoal = PlanGoal.LATENCY
    seconds: float = SECONDS
    families: Sequence[str] = ()
    max_memory: float | None = None
    compare: Sequence[ModelLike] = ()
    tune: bool = False
    workers: int = 1
    scheduler: str = ""

    def __post_init__(self) -> None:
        """Check ranges and names.

        Raises:
            OptionError: If one makes no sense.
        """
        if not 0 < self.seconds < float("inf"):
            msg = f"time {self.seconds:g} s must be above 0; give one such as 90 or 600"
            raise OptionError(msg)
        chosen_families(self.goal, self.families)
        check_workers(self.workers, self.scheduler)

    @property
    def files(self) -> list[Path]:
        """The files it reads; results must not replace them."""
        named = [Path(m) for m in self.compare if isinstance(m, str | os.PathLike)]
        return [part for path in named for part in model_files(path)]

    def settings(self) -> dict[str, Any]:
        """Return the resolved settings, JSON-able, for people and reports."""
        return {
            "for": self.goal.value,
            "time": f"{self.seconds:g} s",
            "families": ", ".join(self.families) or None,
            "max_memory": self.max_memory,
            "compare": [peer_name(m) for m in self.compare] or None,
            "tune": self.tune,
            "workers": self.workers,
            "scheduler": self.scheduler or None,
        }

    def check(self, request: Request) -> None:
        """See that a request leaves the choice to a plan, and can be judged.

        Raises:
            UsageError: If it contradicts that.
        """
        if request.passes or request.recipe is not None or request.student is not None:
            msg = (
                "a plan chooses the passes itself; leave out --passes, --recipe and --student, or "
                "--auto"
            )
            raise OptionError(msg)
        for package, how in TUNING.make(None).missing_packages().items() if self.tune else ():
            msg = f"--tune needs the package {package!r}, which is not installed: {how}"
            raise UsageError(msg)
        if request.data is None:
            what = "random numbers do not show" if request.synthetic else "nothing shows"
            msg = f"a plan needs data to measure what is lost, which {what}; give some with --data"
            raise DataError(msg)
        if self.goal is PlanGoal.MEMORY and not request.measure:
            msg = "a plan for memory has to run models; leave out --no-profile"
            raise OptionError(msg)
        _ = request.device
        request.budget.user_metric()


def peer_name(model: ModelLike) -> str:
    """Return what reports call a model to compare with."""
    return str(model) if isinstance(model, str | os.PathLike) else "in memory"


def goal_named(name: str) -> PlanGoal:
    """Return a goal by its name.

    Raises:
        OptionError: If there is none of that name.
    """
    if name not in list(PlanGoal):
        msg = f"goal {name!r} is none of {', '.join(PlanGoal)}"
        raise OptionError(msg)
    return PlanGoal(name)
