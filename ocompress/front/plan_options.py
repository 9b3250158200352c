"""Options that only plans take, as users give them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

from ocompress.errors import OptionError
from ocompress.front import kinds
from ocompress.front.files import ModelLike
from ocompress.front.limits import duration, memory_limit
from ocompress.front.plans import SECONDS, Planning, goal_named


@dataclass(frozen=True, kw_only=True)
class PlanOptions:
    """What of a plan can be set; see `ocompress.optimize`."""

    goal: str = "latency"
    time: float | str = SECONDS
    families: Sequence[str] = ()
    max_memory: float | str | None = None
    compare: Sequence[ModelLike] = ()
    tune: bool = False
    workers: int = 1
    scheduler: str = ""

    def refuse(self, auto: str, names: dict[str, str] | None = None) -> None:
        """Refuse all that is given, as no plan is asked for.

        Args:
            auto: What would ask for one.
            names: What users call options that have another name here.

        Raises:
            OptionError: Naming the first.
        """
        for field in fields(self):
            if getattr(self, field.name) != field.default:
                name = (names or {}).get(field.name, field.name)
                msg = f"{name} is for plans; give {auto}, or leave it out"
                raise OptionError(msg)

    def planning(self) -> Planning:
        """Return how a plan is looked for.

        Raises:
            UsageError: If an option makes no sense.
        """
        kinds.instance("families", self.families, "a list of names", list, tuple)
        kinds.instance("compare", self.compare, "a list of models", list, tuple)
        kinds.instance("scheduler", self.scheduler, "the address of one", str)
        return Planning(
            goal=goal_named(self.goal),
            seconds=duration(self.time),
            families=tuple(self.families),
            max_memory=memory_limit(self.max_memory),
            compare=tuple(self.compare),
            tune=kinds.truth("tune", self.tune),
            workers=kinds.whole("workers", self.workers),
            scheduler=self.scheduler,
        )
